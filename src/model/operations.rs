//! By which operations the work between the matrix products is done.

use candle_core::Device;

/// How activations, edits and scores are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operations {
    /// By loops of our own over rows in this machine's memory, each of which does several steps while a row is in the cache.
    Fused,
    /// By the tensor library's operations, where the tensors are: only what a reader asks for leaves the device. On the CPU
    /// they give the same numbers up to rounding, more slowly; so what a device does can be tested without one.
    Tensors,
}

impl Operations {
    /// The faster ones on a device.
    pub fn of(device: &Device) -> Operations {
        match device {
            Device::Cpu => Operations::Fused,
            _ => Operations::Tensors,
        }
    }
}
