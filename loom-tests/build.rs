//! Turns on `cfg(ring_loom)` for this crate alone, so that a plain `cargo test` model-checks.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(ring_loom)");
    println!("cargo:rustc-cfg=ring_loom");
    println!("cargo:rerun-if-changed=build.rs");
}
