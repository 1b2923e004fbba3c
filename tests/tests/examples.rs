//! Examples of several processes run to their end, and find everything in order.

use std::process::Command;

fn run(program: &str, roles: &[&str]) {
    let output = Command::new(program).arg("0.5").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{error}");
    for role in roles {
        let line = text.lines().find(|line| line.starts_with(role));
        assert!(line.is_some(), "the {role} is silent: {text}{error}");
    }
}

#[test]
fn the_camera_ends_with_all_frames_as_they_were_seen() {
    let program = env!("CARGO_BIN_EXE_camera");
    run(program, &["camera", "display", "recorder", "detector"]);
}

#[test]
fn the_feed_handler_ends_with_all_books_right() {
    let program = env!("CARGO_BIN_EXE_feed_handler");
    run(program, &["feed", "maker", "hedger", "analyst"]);
}
