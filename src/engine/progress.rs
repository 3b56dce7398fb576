//! How far a run is, for whoever shows it.

/// Is told how much of a run is done. One unit is half a layer for one stream.
pub trait Progress {
    /// A run of `units` begins; `what` names it for a person.
    fn start(&self, what: &str, units: u64);
    /// Some more units are done.
    fn advance(&self, units: u64);
    /// Whether the run should end, with [`EngineError::Stopped`](super::EngineError::Stopped); asked after each layer of
    /// each stream.
    fn stop_requested(&self) -> bool {
        false
    }
}

impl Progress for () {
    fn start(&self, _what: &str, _units: u64) {}
    fn advance(&self, _units: u64) {}
}
