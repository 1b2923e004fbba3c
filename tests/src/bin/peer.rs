//! A party of a test in a process of its own: `peer ROLE ADDRESS ARGUMENT...`.

use ringmain_tests::peer::Script;
use ringmain_tests::roles;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (role, rest) = arguments
        .split_first()
        .expect("usage: peer ROLE ADDRESS ARGUMENT...");
    roles::run(role, rest, &mut Script::stdio());
}
