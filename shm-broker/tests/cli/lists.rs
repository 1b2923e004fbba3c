//! `ls`, `clients`: who is there.

use ringmain::message::Bytes;
use ringmain::{Client, Overflow};
use serde_json::Value;

use crate::harness::Bus;

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.level")]
struct Level {
    height: f32,
}

fn json(lines: &[String]) -> Value {
    serde_json::from_str(&lines[0]).unwrap()
}

#[test]
fn ls_shows_publishers_subscribers_types_and_mismatches() {
    let bus = Bus::start();
    let client = Client::builder()
        .name("pump")
        .connect(&bus.address())
        .unwrap();
    let mut publisher = client.publisher::<Level>("tank/*/level").open().unwrap();
    let any = client.subscriber::<ringmain::AnyMessage>("tank/**");
    let _any = any.overflow(Overflow::DropNewest).open().unwrap();
    let _raw = client.subscriber::<Bytes>("tank/1/*").open().unwrap();
    let _other = client.subscriber::<Bytes>("log").open().unwrap();
    let level = Level { height: 2.5 };
    publisher.publish("tank/1/level", &level).unwrap();

    let ended = bus.run(&["ls"]);
    assert!(
        ended.stderr.contains("1 subscribers take another type"),
        "{ended:?}"
    );
    let text = ended.done().join("\n");
    for part in [
        "tank/*/level",
        "test.level v1",
        "(pump)",
        "tank/**",
        "any",
        "drop-newest",
        "log",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let listing = json(&bus.run(&["ls", "tank/1/**", "--live", "--json"]).done());
    let publisher = &listing["publishers"][0];
    assert_eq!(publisher["type"], "test.level v1");
    assert_eq!(publisher["type_mismatches"], 1);
    assert_eq!(publisher["live_topics"][0], "tank/1/level");
    assert_eq!(listing["subscribers"].as_array().unwrap().len(), 2);
    let listing = json(&bus.run(&["ls", "tank/2/**", "--json"]).done());
    let subscribers = listing["subscribers"].as_array().unwrap();
    assert_eq!(subscribers.len(), 1, "{subscribers:?}");
    assert_eq!(subscribers[0]["type"], Value::Null);
}

#[test]
fn ls_shows_what_is_kept_and_what_is_left_out() {
    let bus = Bus::start();
    let client = bus.client();
    let builder = client.publisher::<Bytes>("config/*").history(3);
    let _publisher = builder.open().unwrap();
    let _plain = client.publisher::<Bytes>("log/*").open().unwrap();
    let _sub = bus.subscribe(&[
        "config/**",
        "--exclude",
        "config/b/*",
        "--exclude",
        "config/a",
    ]);
    let listing = json(&bus.run(&["ls", "--json"]).done());
    let publishers = listing["publishers"].as_array().unwrap().iter();
    let kept: Vec<_> = publishers
        .map(|info| {
            (
                info["topic"].as_str().unwrap(),
                info["history"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(kept, [("config/*", 3), ("log/*", 0)]);
    let subscriber = &listing["subscribers"][0];
    let excludes = serde_json::json!(["config/a", "config/b/*"]);
    assert_eq!(
        (&subscriber["excludes"], &subscriber["queue"]),
        (&excludes, &Value::Null)
    );
    let _member = bus.subscribe(&["config/**", "--queue", "workers"]);
    let listing = json(&bus.run(&["ls", "--json"]).done());
    let subscribers = listing["subscribers"].as_array().unwrap().iter();
    let queues: Vec<_> = subscribers.map(|info| &info["queue"]).collect();
    assert_eq!(queues, [&Value::Null, &"workers".into()]);
    let text = bus.run(&["ls"]).done().join("\n");
    for part in ["workers", "HISTORY", "EXCLUDES", "config/a config/b/*"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
}

#[test]
fn clients_shows_everybody_by_name_and_process() {
    let bus = Bus::start();
    let client = Client::builder()
        .name("pump")
        .connect(&bus.address())
        .unwrap();
    let _publisher = client.publisher::<Bytes>("a").open().unwrap();
    let text = bus.run(&["clients"]).done().join("\n");
    assert!(
        text.contains("pump") && text.contains("shm-broker clients"),
        "{text}"
    );
    let clients = json(&bus.run(&["clients", "--json"]).done());
    let pump = clients
        .as_array()
        .unwrap()
        .iter()
        .find(|client| client["name"] == "pump");
    let pump = pump.unwrap();
    assert_eq!(pump["pid"], std::process::id());
    assert_eq!(pump["publishers"], 1);
}
