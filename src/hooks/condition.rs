//! What a run of the model does differently from the plain one.

use super::edit::{Edit, LayerEdit};
use super::path::Path;

/// The plain run, or one that edits.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// Nothing.
    Clean,
    /// One edit.
    Edited(Edit),
}

impl From<Edit> for Condition {
    fn from(edit: Edit) -> Self {
        Condition::Edited(edit)
    }
}

impl Condition {
    /// The edit, if there is one.
    pub fn edit(&self) -> Option<&Edit> {
        match self {
            Condition::Clean => None,
            Condition::Edited(edit) => Some(edit),
        }
    }

    /// By which way what it changes reaches the logits.
    pub fn path(&self) -> Path {
        self.edit().map_or(Path::Total, |edit| edit.path)
    }

    /// What later parts of the model see of it in layer `layer`, if anything.
    pub(crate) fn at_layer(&self, layer: usize) -> Option<LayerEdit<'_>> {
        let edit = self.edit().filter(|edit| edit.path == Path::Total)?;
        edit.at_layer(layer)
    }

    /// What the final norm alone sees of it, if anything.
    pub(crate) fn at_layer_directly(&self, layer: usize) -> Option<LayerEdit<'_>> {
        let edit = self.edit().filter(|edit| edit.path != Path::Total)?;
        edit.at_layer(layer)
    }
}
