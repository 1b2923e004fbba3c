//! Explores the one model that the command line names.

use std::process::ExitCode;

use ringmain_loom_tests::models::Model;

fn main() -> ExitCode {
    let name = std::env::args().nth(1).unwrap_or_default();
    let Some(model) = Model::named(&name) else {
        eprintln!("no model is called {name:?}");
        return ExitCode::from(2);
    };
    (model.run)();
    ExitCode::SUCCESS
}
