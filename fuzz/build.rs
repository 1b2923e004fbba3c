//! Turns on the ring on the heap, which the library itself has in its tests only.

fn main() {
    println!("cargo:rustc-cfg=ring_heap");
}
