//! `ls`: lists what is published, what is listened to.

use clap::Args;
use ringmain::message::MessageType;
use ringmain::wire::{Listing, Overflow, PublisherInfo, SubscriberInfo};
use ringmain::{ListTopics, Pattern};
use serde_json::{Value, json};

use super::connect;
use crate::cli::{self, Common};
use crate::ending::{Ending, Outcome, say};
use crate::output::Output;
use crate::table::{Align, Table};

/// Lists open publishers and subscribers.
#[derive(Debug, Args)]
pub struct List {
    /// Only those that have topics in common with this pattern.
    #[arg(default_value = "**", value_parser = cli::pattern)]
    pattern: Pattern,
    /// Also asks the publishers for the topics that they use at the moment.
    #[arg(long)]
    live: bool,
}

impl List {
    /// Runs the command.
    pub fn run(self, common: &Common) -> Outcome {
        let topics = match self.live {
            true => ListTopics::Live,
            false => ListTopics::Declared,
        };
        let client = connect(common, "ls")?;
        let listing = client.list(self.pattern.as_str(), topics)?;
        let mut output = Output::new();
        if common.json {
            output.line(to_json(&listing))?;
        } else {
            output.line(publishers(&listing.publishers, topics))?;
            output.line("")?;
            output.line(subscribers(&listing.subscribers))?;
        }
        output.flush()?;
        warn_of_mismatches(&listing);
        Ok(Ending::Done)
    }
}

fn publishers(publishers: &[PublisherInfo], topics: ListTopics) -> Table {
    let heading = [
        "PUBLISHER",
        "TYPE",
        "CLIENT",
        "LANES",
        "HISTORY",
        "MISMATCHES",
        "LIVE",
    ];
    let shown = heading.len() - usize::from(topics == ListTopics::Declared);
    let mut table = Table::new(Align::Text, &heading[..shown]);
    for info in publishers {
        let live = match (topics, &info.live_topics) {
            (ListTopics::Declared, _) => String::new(),
            (ListTopics::Live, None) => "(no answer)".into(),
            (ListTopics::Live, Some(topics)) => topics.join(" "),
        };
        table.row([
            info.topic.clone(),
            info.message_type.to_string(),
            client(info.client, &info.client_name),
            info.lanes.to_string(),
            info.history.to_string(),
            info.type_mismatches.to_string(),
            live,
        ]);
    }
    table
}

fn subscribers(subscribers: &[SubscriberInfo]) -> Table {
    let heading = [
        "SUBSCRIBER",
        "TYPE",
        "CLIENT",
        "LANES",
        "OVERFLOW",
        "QUEUE",
        "EXCLUDES",
    ];
    let mut table = Table::new(Align::Text, &heading);
    for info in subscribers {
        table.row([
            info.patterns.join(" "),
            type_name(info.message_type.as_ref()).unwrap_or_else(|| "any".into()),
            client(info.client, &info.client_name),
            info.lanes.to_string(),
            overflow(info.overflow),
            info.queue.clone().unwrap_or_else(|| "-".into()),
            info.excludes.join(" "),
        ]);
    }
    table
}

fn to_json(listing: &Listing) -> Value {
    let publisher = |info: &PublisherInfo| {
        json!({
            "topic": info.topic,
            "type": info.message_type.to_string(),
            "client": info.client,
            "client_name": info.client_name,
            "lanes": info.lanes,
            "history": info.history,
            "type_mismatches": info.type_mismatches,
            "live_topics": info.live_topics,
        })
    };
    let subscriber = |info: &SubscriberInfo| {
        json!({
            "patterns": info.patterns,
            "excludes": info.excludes,
            "type": type_name(info.message_type.as_ref()),
            "client": info.client,
            "client_name": info.client_name,
            "lanes": info.lanes,
            "overflow": overflow(info.overflow),
            "queue": info.queue,
        })
    };
    json!({
        "publishers": listing.publishers.iter().map(publisher).collect::<Value>(),
        "subscribers": listing.subscribers.iter().map(subscriber).collect::<Value>(),
    })
}

fn warn_of_mismatches(listing: &Listing) {
    for info in &listing.publishers {
        if info.type_mismatches > 0 {
            say(format_args!(
                "{} subscribers take another type than the {} that {} publishes to {}",
                info.type_mismatches, info.message_type, info.client_name, info.topic
            ));
        }
    }
}

fn client(number: u64, name: &str) -> String {
    format!("{number} ({name})")
}

fn type_name(message_type: Option<&MessageType>) -> Option<String> {
    message_type.map(ToString::to_string)
}

fn overflow(overflow: Overflow) -> String {
    match overflow {
        Overflow::Block { deadline } => format!("block {deadline:?}"),
        Overflow::DropNewest => "drop-newest".into(),
        Overflow::DropOldest => "drop-oldest".into(),
        Overflow::Conflate => "conflate".into(),
        Overflow::Disconnect => "disconnect".into(),
        other => format!("{other:?}"),
    }
}
