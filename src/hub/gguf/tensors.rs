//! The tensors of a GGUF file: their types, and that their data lie one behind the other.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;

use candle_core::quantized::GgmlDType;

use super::GgufFileError;
use super::header::{Cursor, read_entry};

/// One tensor of a GGUF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// Its name.
    pub name: String,
    /// Rows first.
    pub shape: Vec<usize>,
    /// How its values are stored.
    pub dtype: GgmlDType,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many they are.
    pub bytes: u64,
}

/// A type by its number in a file: what it is read as, or its name where it is not read.
fn storage_type(number: u32) -> Result<GgmlDType, String> {
    use GgmlDType::*;
    let name = match number {
        0 => return Ok(F32),
        1 => return Ok(F16),
        2 => return Ok(Q4_0),
        3 => return Ok(Q4_1),
        6 => return Ok(Q5_0),
        7 => return Ok(Q5_1),
        8 => return Ok(Q8_0),
        10 => return Ok(Q2K),
        11 => return Ok(Q3K),
        12 => return Ok(Q4K),
        13 => return Ok(Q5K),
        14 => return Ok(Q6K),
        30 => return Ok(BF16),
        4 => "Q4_2",
        5 => "Q4_3",
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        31 => "Q4_0_4_4",
        32 => "Q4_0_4_8",
        33 => "Q4_0_8_8",
        34 => "TQ1_0",
        35 => "TQ2_0",
        36 => "IQ4_NL_4_4",
        37 => "IQ4_NL_4_8",
        38 => "IQ4_NL_8_8",
        39 => "MXFP4",
        40 => "NVFP4",
        41 => "Q1_0",
        42 => "Q2_0",
        other => return Err(format!("type {other}, which has no name here")),
    };
    Err(name.to_string())
}

/// Reads the entries of all tensors; their offsets are still those within the data.
pub(super) fn read_entries<R: Read>(
    cursor: &mut Cursor<R>,
    path: &Path,
    count: u64,
) -> Result<Vec<GgufTensor>, GgufFileError> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for number in 1..=count {
        let (name, shape, number, offset) =
            read_entry(cursor, &format!("tensor {number} of {count}"))?;
        let what = format!("tensor {name}");
        if !names.insert(name.clone()) {
            let path = path.to_path_buf();
            return Err(GgufFileError::Twice { path, what });
        }
        let dtype = storage_type(number).map_err(|found| GgufFileError::StorageType {
            path: path.to_path_buf(),
            tensor: name.clone(),
            found,
        })?;
        let bytes = size(&shape, dtype).map_err(|why| cursor.damaged(&what, why))?;
        tensors.push(GgufTensor {
            name,
            shape: shape.into_iter().map(|n| n as usize).collect(),
            dtype,
            offset,
            bytes,
        });
    }
    Ok(tensors)
}

/// The bytes of a tensor, or what is wrong with its shape.
fn size(shape: &[u64], dtype: GgmlDType) -> Result<u64, String> {
    let block = dtype.block_size() as u64;
    let width = shape.last().copied().unwrap_or(0);
    if shape.contains(&0) {
        return Err(format!("has shape {shape:?}; no dimension may be 0"));
    }
    if width % block != 0 {
        return Err(format!(
            "has rows of {width} values, stored as {dtype:?} in blocks of {block}"
        ));
    }
    let values = shape.iter().try_fold(1u64, |all, n| all.checked_mul(*n));
    let bytes = values.and_then(|values| (values / block).checked_mul(dtype.type_size() as u64));
    bytes.ok_or_else(|| format!("has shape {shape:?}, more than any file can hold"))
}

/// Turns places within the data into places within the file, and returns where the last tensor ends. As in llama.cpp
/// each tensor begins where the one before it ends, at the next multiple of the alignment.
pub(super) fn place(
    path: &Path,
    tensors: &mut [GgufTensor],
    start: u64,
    alignment: u64,
    length: u64,
) -> Result<u64, GgufFileError> {
    let mut next = 0u64;
    let mut end = start;
    for tensor in tensors {
        let damaged = |why: String| GgufFileError::Damaged {
            path: path.to_path_buf(),
            what: format!("tensor {}", tensor.name),
            why,
        };
        if tensor.offset != next {
            return Err(damaged(format!(
                "begins at byte {} of the data, and the one before it ends at {next}",
                tensor.offset
            )));
        }
        let place = start.checked_add(next);
        let ends = place.and_then(|place| place.checked_add(tensor.bytes));
        let inside = ends.filter(|ends| *ends <= length);
        end = inside.ok_or_else(|| {
            let left = length.saturating_sub(start.saturating_add(next));
            let bytes = tensor.bytes;
            damaged(format!(
                "takes {bytes} bytes, and {left} are left of the file"
            ))
        })?;
        tensor.offset = end - tensor.bytes;
        // Below the file's length, so far from the end of u64.
        next = (end - start).next_multiple_of(alignment);
    }
    Ok(end)
}
