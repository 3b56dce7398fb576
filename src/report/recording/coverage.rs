//! Whether a table has every neuron of what was recorded, each once.

use std::ops::Range;

use crate::hooks::Neuron;

/// Which neurons a table has had a row of.
pub(super) struct Coverage {
    /// By layer; empty for layers without any.
    seen: Vec<Vec<bool>>,
    d_mlp: usize,
}

impl Coverage {
    /// None yet, of a model of this shape.
    pub fn new(n_layers: usize, d_mlp: usize) -> Self {
        let seen = vec![Vec::new(); n_layers];
        Self { seen, d_mlp }
    }

    /// Takes a row; or why it cannot be one of this model's.
    pub fn add(&mut self, neuron: Neuron) -> Result<(), String> {
        let layer = self.seen.get_mut(neuron.layer);
        let layer = layer.filter(|_| neuron.index < self.d_mlp);
        let layer = layer.ok_or_else(|| format!("this model has no neuron {neuron}"))?;
        layer.resize(self.d_mlp, false);
        if std::mem::replace(&mut layer[neuron.index], true) {
            Err(format!("it has neuron {neuron} twice"))
        } else {
            Ok(())
        }
    }

    /// Refuses a table that lacks neurons of a recorded layer; where the layers are not known, of one that it has any
    /// of.
    pub fn check(&self, recorded: Option<&Range<usize>>) -> Result<(), String> {
        let is_recorded = |layer: usize| match recorded {
            Some(layers) => layers.contains(&layer),
            None => !self.seen[layer].is_empty(),
        };
        let mut layers = (0..self.seen.len()).filter(|layer| is_recorded(*layer));
        let lacks = |layer: &usize| {
            let seen = &self.seen[*layer];
            seen.is_empty() || seen.contains(&false)
        };
        match layers.find(lacks) {
            Some(layer) => Err(format!("it lacks neurons of layer {layer}")),
            None => Ok(()),
        }
    }
}
