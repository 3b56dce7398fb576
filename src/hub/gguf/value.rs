//! A metadata value: its type, and its bytes as they stand in the file.
//!
//! Arrays stay packed, so that a file's metadata take no more memory than their place in the file.

use std::fmt;

/// The type of a value, or of the items of an array; arrays of arrays are not read (nor by llama.cpp).
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display, strum::FromRepr)]
#[strum(serialize_all = "lowercase")]
#[repr(u32)]
pub enum ValueType {
    /// 8 bits, unsigned.
    U8,
    /// 8 bits, signed.
    I8,
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, signed.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, signed.
    I32,
    /// 32 bits, floating point.
    F32,
    /// One byte, 0 or 1.
    Bool,
    /// A length in 64 bits, then UTF-8.
    #[strum(serialize = "string")]
    Text,
    /// 64 bits, unsigned; 9 stands for an array.
    U64 = 10,
    /// 64 bits, signed.
    I64,
    /// 64 bits, floating point.
    F64,
}

/// The number that stands for an array in a file.
pub(super) const ARRAY: u32 = 9;

/// How much of a text a message shows.
const SHOWN_CHARS: usize = 40;

impl ValueType {
    /// Bytes of one value; of a text, those of its length.
    pub(super) fn bytes(self) -> usize {
        use ValueType::*;
        match self {
            U8 | I8 | Bool => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 | Text => 8,
        }
    }
}

/// One value, or an array of values of one type.
#[derive(Clone, PartialEq, Eq)]
pub struct Value {
    pub(super) of: ValueType,
    /// Items of an array; `None`: it is none.
    pub(super) items: Option<usize>,
    /// Little-endian, as in the file.
    pub(super) bytes: Vec<u8>,
}

impl Value {
    /// The type, or that of an array's items.
    pub fn value_type(&self) -> ValueType {
        self.of
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        self.items.is_some()
    }

    /// The number of items; 1 where it is no array.
    pub fn len(&self) -> usize {
        self.items.unwrap_or(1)
    }

    /// Whether it is an array without items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One text in UTF-8.
    pub fn text(&self) -> Option<&str> {
        self.single(Self::all_texts)
    }

    /// One integer of any width.
    pub fn integer(&self) -> Option<i128> {
        self.single(Self::all_integers)
    }

    /// One f32.
    pub fn float(&self) -> Option<f32> {
        self.single(Self::all_floats)
    }

    /// One boolean.
    pub fn flag(&self) -> Option<bool> {
        self.single(Self::all_flags)
    }

    /// An array of texts in UTF-8.
    pub fn texts(&self) -> Option<Vec<&str>> {
        self.several(Self::all_texts)
    }

    /// An array of integers of any one width.
    pub fn integers(&self) -> Option<Vec<i128>> {
        self.several(Self::all_integers)
    }

    /// Integers of any one width, one or an array of them, one after the other.
    pub fn each_integer(&self) -> Option<impl Iterator<Item = i128>> {
        use ValueType::*;
        if matches!(self.of, F32 | F64 | Bool | Text) {
            return None;
        }
        let signed = matches!(self.of, I8 | I16 | I32 | I64);
        let integer = move |bytes: &[u8]| {
            let negative = signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
            let start = if negative { -1i128 } else { 0 };
            let add = |value: i128, byte: &u8| value << 8 | i128::from(*byte);
            bytes.iter().rev().fold(start, add)
        };
        Some(self.bytes.chunks_exact(self.of.bytes()).map(integer))
    }

    /// An array of f32.
    pub fn floats(&self) -> Option<Vec<f32>> {
        self.several(Self::all_floats)
    }

    /// An array of booleans.
    pub fn flags(&self) -> Option<Vec<bool>> {
        self.several(Self::all_flags)
    }

    /// No array is unpacked where one value is asked for.
    fn single<'a, T>(&'a self, all: impl Fn(&'a Self) -> Option<Vec<T>>) -> Option<T> {
        match self.items {
            None => all(self)?.pop(),
            Some(_) => None,
        }
    }

    /// An array without items has no type that could be wrong.
    fn several<'a, T>(&'a self, all: impl Fn(&'a Self) -> Option<Vec<T>>) -> Option<Vec<T>> {
        match self.items? {
            0 => Some(Vec::new()),
            _ => all(self),
        }
    }

    fn all_texts(&self) -> Option<Vec<&str>> {
        if self.of != ValueType::Text {
            return None;
        }
        let mut rest = self.bytes.as_slice();
        let next = |_| {
            let (length, after) = rest.split_first_chunk::<8>()?;
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            let (text, after) = after.split_at_checked(length)?;
            rest = after;
            std::str::from_utf8(text).ok()
        };
        (0..self.len()).map(next).collect()
    }

    fn all_integers(&self) -> Option<Vec<i128>> {
        Some(self.each_integer()?.collect())
    }

    fn all_floats(&self) -> Option<Vec<f32>> {
        let (quads, _) = self.bytes.as_chunks::<4>();
        let floats = quads.iter().map(|quad| f32::from_le_bytes(*quad));
        (self.of == ValueType::F32).then(|| floats.collect())
    }

    fn all_flags(&self) -> Option<Vec<bool>> {
        let flags = self.bytes.iter().map(|byte| *byte == 1);
        (self.of == ValueType::Bool).then(|| flags.collect())
    }

    /// The bytes of the value, or of an array's items one after the other, as in the file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// For a message: `u32 3`, `string "linear"`, `array of 4 × i32`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(items) = self.items {
            return write!(f, "an array of {items} × {}", self.of);
        }
        if let Some(text) = self.text() {
            let shown: String = text.chars().take(SHOWN_CHARS).collect();
            let more = if shown.len() < text.len() { "..." } else { "" };
            return write!(f, "{shown:?}{more}");
        }
        let number = self.integer().map(|number| number.to_string());
        let number = number.or_else(|| self.float().map(|number| number.to_string()));
        let number = number.or_else(|| self.flag().map(|flag| flag.to_string()));
        match number {
            Some(number) => write!(f, "{number} ({})", self.of),
            None => write!(f, "a {} that is not read", self.of),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({self})")
    }
}
