//! How much memory a model needs in each mode, from its configuration alone, and which mode a limit allows.

use serde::{Deserialize, Serialize};
use sysinfo::{MemoryRefreshKind, System};

use super::config::Config;
use super::error::ModelError;

/// Whether all layers are kept in memory or read from the files as a run reaches them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Residency {
    /// All layers stay in memory.
    Resident,
    /// Each layer is read while the one before computes, and released after.
    Streamed,
}

/// Bytes in memory besides residual streams and activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// All layers, the head, and the program itself.
    pub resident_bytes: u64,
    /// Two layers, one of them being read, and the program itself.
    pub streamed_bytes: u64,
}

/// What the program needs without a model: code, threads, prompts, results.
const PROGRAM_BYTES: u64 = 64 << 20;

/// What a tokenizer needs per entry of its vocabulary.
const TOKENIZER_BYTES: u64 = 1 << 10;

/// What residual streams and activations may take of a memory that is large enough.
const ACTIVATION_BYTES: u64 = 512 << 20;

/// The least that is left for residual streams and activations.
const FEWEST_ACTIVATION_BYTES: u64 = ACTIVATION_BYTES / 4;

impl MemoryEstimate {
    /// The estimate for weights of `bytes_per_weight` bytes each.
    pub fn new(config: &Config, bytes_per_weight: usize) -> Self {
        let layer = config.layer_parameters() * bytes_per_weight as u64;
        let head = config.embedding_parameters() * bytes_per_weight as u64;
        // Every matrix is read as f32, whatever becomes of it.
        let being_read = 4 * (config.d_model * config.d_mlp) as u64;
        let program = PROGRAM_BYTES + TOKENIZER_BYTES * config.vocab_size as u64;
        let besides = being_read + program;
        Self {
            resident_bytes: config.n_layers() as u64 * layer + head + besides,
            streamed_bytes: 2 * layer + besides,
        }
    }

    /// The same where the matrices are shuffled: embedding and head are kept, and a matrix is read whole for any part of it.
    pub(super) fn with_shuffle(self, config: &Config) -> Self {
        let vocabulary = if config.tied_head { 1 } else { 2 };
        let kept = vocabulary * config.embedding_parameters();
        let part = (2 * config.d_model * config.d_mlp) as u64;
        let more = 4 * (kept + part);
        Self {
            resident_bytes: self.resident_bytes + more,
            streamed_bytes: self.streamed_bytes + more,
        }
    }

    fn of(&self, residency: Residency) -> u64 {
        match residency {
            Residency::Resident => self.resident_bytes,
            Residency::Streamed => self.streamed_bytes,
        }
    }
}

/// How a model is held, and what that leaves for its activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// How the weights are held.
    pub residency: Residency,
    /// What residual streams and activations should fit into, bytes.
    pub activation_bytes: u64,
    /// What they must fit into, bytes.
    pub activation_limit: u64,
    /// What everything else takes, either way.
    estimate: MemoryEstimate,
}

/// Where a limit comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Somebody set it: bytes that may be used to the full.
    Set(u64),
    /// Bytes that are available on this machine.
    Available(u64),
    /// Bytes that are free on a device with a memory of its own.
    OnDevice(u64),
    /// Nobody set one, and the system does not say what is available.
    Unknown,
}

impl MemoryLimit {
    /// What is available on this machine now.
    pub fn of_machine() -> MemoryLimit {
        available_memory().map_or(MemoryLimit::Unknown, MemoryLimit::Available)
    }

    /// A tenth of what is available is left to others, who may come to need it.
    fn usable(self) -> u64 {
        match self {
            MemoryLimit::Set(bytes) => bytes,
            MemoryLimit::Available(bytes) | MemoryLimit::OnDevice(bytes) => bytes / 10 * 9,
            MemoryLimit::Unknown => u64::MAX,
        }
    }
}

impl MemoryPlan {
    /// Resident where that fits, else streamed.
    ///
    /// # Errors
    /// Not even the streamed mode fits; the error says what it needs.
    pub fn new(estimate: &MemoryEstimate, limit: MemoryLimit) -> Result<MemoryPlan, ModelError> {
        for (residency, fewest) in [
            (Residency::Resident, ACTIVATION_BYTES),
            (Residency::Streamed, FEWEST_ACTIVATION_BYTES),
        ] {
            let left = limit.usable().saturating_sub(estimate.of(residency));
            if left < fewest {
                continue;
            }
            return Ok(MemoryPlan {
                residency,
                activation_bytes: match (limit, residency) {
                    (MemoryLimit::Set(_), _) => left,
                    // Wide passes keep it busy, and nobody else needs the memory; what is not planned for has the other half.
                    (MemoryLimit::OnDevice(_), _) => (left / 2).max(fewest),
                    (_, Residency::Resident) => ACTIVATION_BYTES,
                    // The system keeps pages of the file in what is left to it: the next pass is faster.
                    (_, Residency::Streamed) => (left / 2).max(fewest),
                },
                activation_limit: left,
                estimate: *estimate,
            });
        }
        let needed = estimate.streamed_bytes + FEWEST_ACTIVATION_BYTES;
        Err(too_little(limit, needed))
    }

    /// What all takes but residual streams and activations.
    pub fn weights_bytes(&self) -> u64 {
        self.estimate.of(self.residency)
    }

    /// The least limit, bytes, under which `activations` bytes fit: that of the streamed mode, unless so much would make
    /// the model resident and leave less.
    pub fn limit_for(&self, activations: u64) -> u64 {
        let MemoryEstimate {
            resident_bytes,
            streamed_bytes,
        } = self.estimate;
        let streamed = streamed_bytes + activations.max(FEWEST_ACTIVATION_BYTES);
        if streamed < resident_bytes + ACTIVATION_BYTES {
            return streamed;
        }
        resident_bytes + activations.max(ACTIVATION_BYTES)
    }
}

fn too_little(limit: MemoryLimit, needed: u64) -> ModelError {
    let needed = needed.div_ceil(1 << 20);
    let even = format!("even read layer by layer this model needs {needed} MiB");
    ModelError::Memory(match limit {
        MemoryLimit::Set(bytes) => {
            let limit = match bytes >> 20 {
                0 => format!("{bytes} bytes (a number without a unit is bytes)"),
                mib => format!("{mib} MiB"),
            };
            format!("--max-memory {limit} is too little: {even}; raise it to at least that")
        }
        MemoryLimit::OnDevice(_) => format!(
            "{} MiB of the device's memory can be used now, and {even}; free some, or take another device",
            limit.usable() >> 20
        ),
        other => format!(
            "{} MiB of memory can be used now, and {even}; close other programs, or insist with --max-memory \
             {needed}MiB and let the system swap",
            other.usable() >> 20
        ),
    })
}

/// Bytes that this process can still take without swapping: what the system calls available, and
/// not more than its control group allows.
fn available_memory() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let available = Some(system.available_memory()).filter(|bytes| *bytes > 0)?;
    // Cached pages of files count as used in a group but can be dropped: rss is what stays.
    let group = system.cgroup_limits();
    let in_group = group.map(|group| group.total_memory.saturating_sub(group.rss));
    Some(in_group.map_or(available, |bytes| bytes.min(available)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const ESTIMATE: MemoryEstimate = MemoryEstimate {
        resident_bytes: 10_000 * MIB,
        streamed_bytes: 1_000 * MIB,
    };

    fn plan(limit: MemoryLimit) -> (Residency, u64) {
        let plan = MemoryPlan::new(&ESTIMATE, limit).unwrap();
        (plan.residency, plan.activation_bytes / MIB)
    }

    #[test]
    fn a_limit_that_was_set_is_used_to_the_full() {
        use MemoryLimit::Set;
        assert_eq!(plan(Set(11_000 * MIB)), (Residency::Resident, 1_000));
        assert_eq!(plan(Set(10_511 * MIB)), (Residency::Streamed, 9_511));
        assert_eq!(plan(Set(1_128 * MIB)), (Residency::Streamed, 128));
    }

    #[test]
    fn the_limit_that_a_refusal_names_works() {
        let refusing = MemoryPlan::new(&ESTIMATE, MemoryLimit::Set(1_128 * MIB)).unwrap();
        for activations in [1, 500, 9_000, 9_511, 9_512, 9_600, 20_000] {
            let limit = refusing.limit_for(activations * MIB);
            let plan = |limit| MemoryPlan::new(&ESTIMATE, MemoryLimit::Set(limit)).unwrap();
            assert!(
                plan(limit).activation_limit >= activations * MIB,
                "{activations}"
            );
            let smaller = plan((limit - MIB).max(1_128 * MIB));
            let is_least = smaller.activation_limit < activations * MIB || activations <= 128;
            assert!(is_least, "{activations}");
        }
    }

    #[test]
    fn what_is_available_decides_where_no_limit_is_set() {
        use MemoryLimit::Available;
        assert_eq!(plan(Available(20_000 * MIB)), (Residency::Resident, 512));
        assert_eq!(plan(Available(10_000 * MIB)), (Residency::Streamed, 4_000));
        assert_eq!(plan(MemoryLimit::Unknown), (Residency::Resident, 512));
    }

    #[test]
    fn too_little_is_refused_with_the_amount_that_works() {
        let refused = |limit| MemoryPlan::new(&ESTIMATE, limit).unwrap_err().to_string();
        let set = refused(MemoryLimit::Set(1_127 * MIB));
        assert!(
            set.contains("--max-memory 1127 MiB") && set.contains("1128 MiB"),
            "{set}"
        );
        let available = refused(MemoryLimit::Available(1_000 * MIB));
        assert!(
            available.contains("900 MiB") && available.contains("--max-memory 1128MiB"),
            "{available}"
        );
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(available_memory().is_none_or(|bytes| bytes > 100 * MIB));
    }
}
