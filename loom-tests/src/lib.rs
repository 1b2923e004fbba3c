//! Floor 0 of ringmain, compiled against loom.
//!
//! The sources are the library's own, included by path. [`models`] runs them through every interleaving (up to a bound
//! on preemptions) and every value that the memory model lets a load return. `tests/models.rs` demands that each model
//! passes; `tests/mutants.rs` weakens one [`sync::Site`] after the other and demands that a model fails.

#[path = "../../src/doorbell/mod.rs"]
pub mod doorbell;
#[path = "../../src/pool/mod.rs"]
pub mod pool;
#[path = "../../src/ring/mod.rs"]
pub mod ring;
#[path = "../../src/sync.rs"]
pub mod sync;
#[path = "../../src/table/mod.rs"]
pub mod table;

pub mod bell;
pub mod models;
pub mod storage;
