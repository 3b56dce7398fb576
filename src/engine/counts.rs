//! What edits changed, counted where their values are.

use candle_core::{Result, Tensor};

use crate::hooks::EditCount;

/// What an edit changed in one layer of one stream.
pub(super) enum Counted {
    Here(EditCount),
    /// The fields of an [`EditCount`], `[4]`, u32: to read them would be to wait for the device.
    OnDevice(Tensor),
}

/// What the edit of each condition of a run changed so far.
pub(super) struct Counts {
    here: Vec<EditCount>,
    /// Conditions with what is still on the device.
    on_device: Vec<(usize, Tensor)>,
}

impl Counts {
    /// Nothing yet, of so many conditions.
    pub fn new(conditions: usize) -> Self {
        Self {
            here: vec![EditCount::default(); conditions],
            on_device: Vec::new(),
        }
    }

    pub fn add(&mut self, condition: usize, counted: &Counted) {
        match counted {
            Counted::Here(count) => self.here[condition] += *count,
            Counted::OnDevice(count) => self.on_device.push((condition, count.clone())),
        }
    }

    /// The sums by condition.
    pub fn finish(mut self) -> Result<Vec<EditCount>> {
        if self.on_device.is_empty() {
            return Ok(self.here);
        }
        let counts: Vec<&Tensor> = self.on_device.iter().map(|(_, count)| count).collect();
        let counts = Tensor::stack(&counts, 0)?.to_vec2::<u32>()?;
        for ((condition, _), count) in self.on_device.iter().zip(counts) {
            self.here[*condition] += EditCount::of_tensor(&count);
        }
        Ok(self.here)
    }
}
