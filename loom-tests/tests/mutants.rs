//! Every site that a proof rests on matters: with the site weakened, the models named here fail.

use std::process::{Command, Output};

use ringmain_loom_tests::{
    models::Model,
    sync::{Site, WEAKEN},
};

/// The models that find a weakened site. Without a wildcard, so that a new site does not compile before it has a row.
fn catchers(site: Site) -> &'static [&'static str] {
    match site {
        Site::RingCommit | Site::RingPoll => &["stream", "batch", "lossy"],
        Site::CursorStore | Site::CursorLoad => &["stream"],
        Site::DropStore | Site::DropLoad => &["gaps_open", "gaps_dead"],
        Site::CloseStore | Site::CloseLoad => &["gaps_closed"],
        Site::ZeroNextHeader | Site::ZeroBeforeCommit => &["stream", "lossy_followed"],
        Site::ReserveNextHeader => &["stream"],
        Site::BatchFirstWordLast => &["batch", "batch_behind_pad", "lossy_followed"],
        Site::GapLookAgain => &["gaps_open", "gaps_dead", "switch"],
        Site::SeatStore | Site::SeatLoad => &["join"],
        Site::LeaverKept => &["switch_over"],
        Site::OldestStore | Site::OldestLoad => &["lossy_resumed"],
        Site::OldestFirst | Site::IntentStore | Site::IntentLoad => &["lossy"],
        Site::OverwriteFence | Site::CopyFence => &["lossy", "lossy_resumed"],
        Site::IntentFirst => &["lossy_resumed"],
        Site::CopyLookAgain | Site::EmptyLookAgain | Site::HeaderLookAgain => &["lossy"],
        Site::WakerFence | Site::WakerLookAgain | Site::SleeperFence => {
            &["doorbell", "room", "doorbell_two_wakers"]
        }
        Site::SleeperLookAgain => &["doorbell", "room", "doorbell_two_wakers"],
        Site::SleeperRetire => &["doorbell", "room"],
        Site::WakerRemember => &["doorbell", "room"],
        Site::WakerOnce => &["doorbell", "room"],
        Site::TableBegunFirst | Site::TableBegunFence => &["table_whole", "table_moved"],
        Site::TableWritesStore | Site::TableWritesLoad => &["table_whole", "table_newest"],
        Site::TableCopyFence | Site::TableLookAgain => &["table_whole", "table_moved"],
        Site::TableSpareCell => &["table_newest", "table_history"],
        Site::TableGroupLast | Site::TableGroupStore => &["table_news"],
        Site::TableGroupLoad | Site::TableGroupFirst => &["table_news"],
        Site::TableUsedFirst => &["table_news"],
        Site::TableSequenceLast | Site::TableSequenceStore => &["table_seen"],
        Site::TableSequenceLoad | Site::TableSequenceFirst => &["table_seen"],
        Site::ChunkCursorLoad | Site::SlotsLast | Site::HoldRelease => &["pool_hold"],
        Site::HoldLoad => &["pool_hold", "pool_hold_reused"],
        Site::HoldStore | Site::HoldGiveBack => &["pool_hold_reused"],
        Site::LeftStore | Site::LeftLoad => &["pool_left"],
        Site::GivenUpFence => &["hint", "hint_table"],
        Site::HintFence => &["hint", "hint_copied"],
        Site::HintLookAgain => &["hint", "hint_copied"],
        Site::HintBeforeCursor => &["hint_read"],
        Site::TableHintFence | Site::TableHintLookAgain => &["hint_table"],
    }
}

/// A process of its own, for the weakened site is read from the environment once.
fn explore(model: &str, weakened: Option<Site>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringmain-loom-tests"));
    child.arg(model).env_remove(WEAKEN);
    if let Some(site) = weakened {
        child.env(WEAKEN, format!("{site:?}"));
    }
    child.output().expect("the model's binary runs")
}

#[test]
fn every_weakened_site_is_found_by_its_models() {
    for site in Site::ALL {
        assert!(!catchers(site).is_empty(), "{site:?} has no row");
        for model in catchers(site) {
            let output = explore(model, Some(site));
            let errors = String::from_utf8_lossy(&output.stderr);
            // A panic, at times on top of one, so no certain exit status; but not for a name that the child lacks.
            assert!(
                !output.status.success()
                    && errors.contains("panicked at")
                    && !errors.contains("names no site"),
                "{site:?} weakened survives {model}\n{errors}"
            );
            println!("{site:?}: {model}: {}", first_panic(&errors));
        }
    }
}

#[test]
fn every_model_passes_in_a_child_that_weakens_nothing() {
    for model in Model::ALL {
        let output = explore(model.name, None);
        assert!(output.status.success(), "{model:?}: {output:?}");
    }
}

#[test]
fn the_tables_are_complete() {
    for (index, site) in Site::ALL.into_iter().enumerate() {
        assert_eq!(site as usize, index, "Site::ALL is in order, without holes");
    }
    for model in Site::ALL.into_iter().flat_map(catchers) {
        assert!(Model::named(model).is_some(), "no model is called {model}");
    }
    let output = Command::new(env!("CARGO_BIN_EXE_ringmain-loom-tests"))
        .arg("no such model")
        .output()
        .expect("the model's binary runs");
    assert_eq!(output.status.code(), Some(2));
}

/// The message of the first panic in a child's standard error.
fn first_panic(errors: &str) -> &str {
    errors
        .lines()
        .skip_while(|line| !line.contains("panicked at"))
        .nth(1)
        .unwrap_or("")
}
