//! The tensors of a GGUF file: their types, and that their data lie one behind the other.

use std::collections::HashSet;
use std::io::Read;

use candle_core::quantized::GgmlDType;

use super::header::Cursor;
use super::twice::twice;
use crate::hub::file_error::FileError;

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

/// The storage types that are read, for messages.
const READ_TYPES: &str =
    "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K";

/// The storage types by their numbers in a file.
const TYPES: &str = "F32 F16 Q4_0 Q4_1 Q4_2 Q4_3 Q5_0 Q5_1 Q8_0 Q8_1 Q2_K Q3_K Q4_K Q5_K Q6_K Q8_K IQ2_XXS IQ2_XS IQ3_XXS \
    IQ1_S IQ4_NL IQ3_S IQ2_S IQ4_XS I8 I16 I32 I64 F64 IQ1_M BF16 Q4_0_4_4 Q4_0_4_8 Q4_0_8_8 TQ1_0 TQ2_0 IQ4_NL_4_4 \
    IQ4_NL_4_8 IQ4_NL_8_8 MXFP4 NVFP4 Q1_0 Q2_0";

/// What a type is read as, or its name where it is not read.
fn storage_type(number: u32) -> Result<GgmlDType, String> {
    use GgmlDType::*;
    let read = [
        F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2K, Q3K, Q4K, Q5K, Q6K,
    ];
    let Some(name) = TYPES.split(' ').nth(number as usize) else {
        return Err(format!("type {number}, which has no name here"));
    };
    let place = READ_TYPES.split(", ").position(|read| read == name);
    place.map(|place| read[place]).ok_or(name.to_string())
}

/// Reads the entries of all tensors; their offsets are still those within the data.
pub(super) fn read_entries<R: Read>(
    cursor: &mut Cursor<R>,
    count: u64,
) -> Result<Vec<GgufTensor>, FileError> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for number in 1..=count {
        let (name, shape, number, offset) = cursor.entry(&format!("tensor {number} of {count}"))?;
        let what = format!("tensor {name}");
        if !names.insert(name.clone()) {
            return Err(twice(cursor.path, what));
        }
        let dtype = storage_type(number).map_err(|found| {
            let why = format!(
                "has {what} stored as {found}, which is not read; accepted: {READ_TYPES}; use a file of one of these \
                 types, or the model's safetensors folder"
            );
            FileError::unusable(cursor.path, why)
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
pub(super) fn place<R: Read>(
    cursor: &Cursor<R>,
    tensors: &mut [GgufTensor],
    start: u64,
    alignment: u64,
) -> Result<u64, FileError> {
    let (mut next, mut end) = (0u64, start);
    for tensor in tensors {
        let what = format!("tensor {}", tensor.name);
        let GgufTensor { offset, bytes, .. } = *tensor;
        if offset != next {
            let why = format!(
                "begins at byte {offset} of the data, and the one before it ends at {next}"
            );
            return Err(cursor.damaged(&what, why));
        }
        let ends = start
            .checked_add(next)
            .and_then(|place| place.checked_add(bytes));
        end = ends.filter(|ends| *ends <= cursor.length).ok_or_else(|| {
            let left = cursor.length.saturating_sub(start.saturating_add(next));
            let why = format!("takes {bytes} bytes, and {left} are left of the file");
            cursor.damaged(&what, why)
        })?;
        tensor.offset = end - bytes;
        // Below the file's length, so far from the end of u64.
        next = (end - start).next_multiple_of(alignment);
    }
    Ok(end)
}
