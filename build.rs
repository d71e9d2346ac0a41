//! Passes to the linker what a Node.js addon needs.
//!
//! On Linux that includes `-z nodelete`: an addon that only a Worker loaded would otherwise be unloaded with it, under
//! the threads of its runtime.

fn main() {
    napi_build::setup();
}
