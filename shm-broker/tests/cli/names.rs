//! `match`, `version`, and what is refused before anything is done.

use crate::harness::{Bus, Running, run};

#[test]
fn match_answers_by_its_exit_code() {
    assert_eq!(run(&["match", "a/*", "a/b"]).code, Some(0));
    assert_eq!(run(&["match", "a/*", "*/b"]).code, Some(0));
    assert_eq!(run(&["match", "a/*", "a/b/c"]).code, Some(1));
    assert_eq!(run(&["match", "a/*", "a//b"]).code, Some(2));
    assert_eq!(run(&["match", "a*", "a/b"]).code, Some(2));
    let lines = run(&["match", "a/*", "*/b", "--json"]).done();
    assert_eq!(lines, [r#"{"includes":false,"match":true}"#]);
}

#[test]
fn a_bad_name_is_pointed_at() {
    for args in [
        ["pub", "md//eurusd", "x"],
        ["match", "**", "md//eurusd"],
        ["sub", "md//eurusd", "--json"],
    ] {
        let complaint = run(&args).failed(2);
        let lines: Vec<&str> = complaint.lines().collect();
        let at = lines.iter().position(|line| *line == "    md//eurusd");
        let at = at.unwrap_or_else(|| panic!("{complaint}"));
        assert_eq!(lines[at + 1], "       ^", "{complaint}");
    }
    run(&["ls", "a/#"]).failed(2);
}

#[test]
fn a_bad_address_is_refused_with_the_kinds_that_exist() {
    let complaint = run(&["ping", "--bus", "udp:x"]).failed(2);
    assert!(complaint.contains("unix:PATH"), "{complaint}");
    let complaint = run(&["ping", "--bus", "unix:/nonexistent/x.sock"]).failed(1);
    assert!(complaint.contains("shm-broker serve"), "{complaint}");
    run(&["ping", "--bus", "tcp://localhost:1"]).failed(1);
    run(&["no-such-command"]).failed(2);
}

#[test]
fn the_environment_names_the_bus_unless_the_command_line_does() {
    let bus = Bus::start();
    let ping = |args: &[&str], variable: &str| {
        let environment = [("RINGMAIN_BUS", variable)];
        Running::start_with(&[&["ping"], args].concat(), &environment).end()
    };
    ping(&[], &bus.address()).done();
    ping(&["--bus", &bus.address()], "unix:/nonexistent/x.sock").done();
    let complaint = ping(&[], "udp:x").failed(2);
    assert!(complaint.contains("RINGMAIN_BUS"), "{complaint}");
}

#[test]
fn the_version_is_told() {
    let lines = run(&["version"]).done();
    assert!(lines[0].starts_with("shm-broker 0."), "{lines:?}");
    let lines = run(&["version", "--json"]).done();
    let version: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert!(version["protocol"].is_u64());
}
