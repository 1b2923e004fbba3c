//! Compiles and runs the example of `README.md`.
#![doc = include_str!("../../README.md")]
