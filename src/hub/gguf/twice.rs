//! What stands in a file more than once.

use std::fmt::Display;
use std::path::Path;

use crate::hub::file_error::FileError;

/// A key or a tensor that stands in the file, or in its parts, more than once.
pub(super) fn twice(path: &Path, what: impl Display) -> FileError {
    let why = format!(
        "is not clear: {what} stands there twice, and it is not known which one counts; fetch or convert the file again"
    );
    FileError::unusable(path, why)
}
