//! The example of this name, for a test that runs it.

#[path = "../../../examples/camera.rs"]
mod example;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    example::main()
}
