//! `pub --typed`: JSON in, typed messages out.

use ringmain::message::Bytes;

use crate::harness::Bus;

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Describe)]
#[rkyv(compare(PartialEq), derive(Debug))]
#[derive(Debug, PartialEq)]
enum Side {
    #[expect(dead_code, reason = "an error names it")]
    Buy,
    Sell,
}

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.order")]
struct Order {
    price: f64,
    size: u32,
    side: Side,
    account: String,
}

#[derive(rkyv::Archive, rkyv::Serialize, ringmain::Message)]
#[message(name = "test.cancel")]
struct Cancel {
    order: u64,
}

const ORDER: &str = r#"{"price":0.1,"size":7,"side":"Sell","account":"a rather long account"}"#;

#[test]
fn json_arrives_as_the_type_that_a_subscriber_takes() {
    let bus = Bus::start();
    let client = bus.client();
    let mut subscriber = client.subscriber::<Order>("orders/*").open().unwrap();
    bus.run(&["pub", "orders/7", ORDER, "--typed"]).done();
    let order = subscriber.recv().unwrap();
    assert_eq!((order.price.to_native(), order.size.to_native()), (0.1, 7));
    assert_eq!(order.side, Side::Sell);
    assert_eq!(order.account.as_str(), "a rather long account");
}

#[test]
fn each_line_is_a_value_of_the_type_that_a_publisher_has() {
    let bus = Bus::start();
    let client = bus.client();
    let _publisher = client.publisher::<Order>("orders/**").open().unwrap();
    let sub = bus.subscribe(&["orders/7", "--count", "2"]);
    let mut publisher = bus.spawn(&["pub", "orders/7", "--typed"]);
    publisher.write(&format!("{ORDER}\n{}\n", ORDER.replace("0.1", "2.5")));
    publisher.end().done();
    assert_eq!(
        sub.end().done(),
        [
            format!("orders/7 {ORDER}"),
            format!("orders/7 {}", ORDER.replace("0.1", "2.5"))
        ]
    );
}

#[test]
fn a_type_that_is_not_known_yet_is_waited_for() {
    let bus = Bus::start();
    let publisher = bus.spawn(&["pub", "orders/7", ORDER, "--typed", "--wait-for", "1"]);
    let client = bus.client();
    let mut subscriber = client.subscriber::<Order>("orders/*").open().unwrap();
    assert_eq!(subscriber.recv().unwrap().size.to_native(), 7);
    publisher.end().done();
}

#[test]
fn json_that_does_not_fit_is_refused_with_its_field() {
    let bus = Bus::start();
    let client = bus.client();
    let _subscriber = client.subscriber::<Order>("orders/*").open().unwrap();
    let refused = |json: &str| {
        bus.run(&["pub", "orders/7", json, "--typed"])
            .failed(2)
            .replace("shm-broker: ", "")
    };
    for (from, to, complaint) in [
        (
            "7",
            "-7",
            "`size` has to be a whole number from 0 to 4294967295, not -7",
        ),
        ("\"size\":7,", "", "`size` is missing"),
        (
            "\"size\"",
            "\"sise\"",
            "there is no field `sise`: the fields are price, size, side, account",
        ),
        (
            "Sell",
            "Hold",
            "`side` has to be \"Buy\" or \"Sell\", not \"Hold\"",
        ),
        ("}", "", "this is not JSON: EOF"),
    ] {
        let told = refused(&ORDER.replace(from, to));
        assert!(told.contains("this is no test.order v1: "), "{told}");
        assert!(told.contains(complaint), "{told}");
    }
    let mut publisher = bus.spawn(&["pub", "orders/7", "--typed"]);
    publisher.write(&format!("{ORDER}\n[]\n"));
    let told = publisher.end().failed(2);
    assert!(
        told.contains("line 2: this is no test.order v1: the message has to be an object, not []"),
        "{told}"
    );
}

#[test]
fn without_a_known_type_it_is_told_how_to_send_bytes() {
    let bus = Bus::start();
    let client = bus.client();
    let _bytes = client.subscriber::<Bytes>("orders/*").open().unwrap();
    let told = bus.run(&["pub", "orders/7", ORDER, "--typed"]).failed(1);
    assert!(told.contains("without --typed the text itself is sent"));
    let args = ["--typed=test.order", "--wait-for", "1", "--timeout", "0.1"];
    let told = bus
        .run(&[&["pub", "orders/7", ORDER], &args[..]].concat())
        .failed(1);
    assert!(told.contains("takes the type test.order"), "{told}");
}

#[test]
fn of_several_types_one_is_chosen_by_its_name() {
    let bus = Bus::start();
    let client = bus.client();
    let mut orders = client.subscriber::<Order>("orders/*").open().unwrap();
    let mut cancels = client.subscriber::<Cancel>("orders/*").open().unwrap();
    let told = bus.run(&["pub", "orders/7", ORDER, "--typed"]).failed(2);
    assert!(
        told.contains("test.order v1, test.cancel v1")
            || told.contains("test.cancel v1, test.order v1"),
        "{told}"
    );
    assert!(told.contains("--typed=TYPE"), "{told}");
    bus.run(&["pub", "orders/7", ORDER, "--typed=test.order"])
        .done();
    bus.run(&[
        "pub",
        "orders/7",
        r#"{"order":9}"#,
        "--typed=test.cancel v1",
    ])
    .done();
    assert_eq!(orders.recv().unwrap().size.to_native(), 7);
    assert_eq!(cancels.recv().unwrap().order.to_native(), 9);
}
