//! `activations.safetensors`: whole tensors of chosen sites, written row by row at their places.
//!
//! All sizes are known from the tokens, so the header goes first. Each pass then writes its rows of every
//! tensor when the engine gets there, and nothing is kept.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::super::ReportError;
use super::checkpoint::link;
use crate::experiment::record::Pass;
use crate::hooks::{HookPoint, NeuronSet, Observer, ReadError, SiteRows};
use crate::model::Config;

/// The file when it is whole.
pub(super) const WHOLE: &str = "activations.safetensors";

/// The file as long as rows are missing: these are 0.
pub(super) const PARTIAL: &str = "gatelens-activations.partial.safetensors";

/// Written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// One tensor, `[rows, width]`.
struct DenseTensor {
    point: HookPoint,
    /// The columns; absent where all are recorded.
    neurons: Option<Vec<u32>>,
    width: usize,
}

/// Which tensors the file has.
pub struct DensePlan {
    rows: u64,
    tensors: Vec<DenseTensor>,
}

impl DensePlan {
    /// Tensors of `points` with `rows` rows each; where `neurons` are chosen, the sites of width d_mlp have only
    /// these as columns, and none in a layer without any.
    pub fn new(
        points: &[HookPoint],
        neurons: Option<&NeuronSet>,
        rows: u64,
        config: &Config,
    ) -> Self {
        let tensor = |point: &HookPoint| {
            let whole = point.site.width(config);
            let chosen = neurons.filter(|_| point.site.is_of_neurons());
            let chosen = chosen.zip(point.layer);
            let neurons = chosen.map(|(set, layer)| set.layer(layer).to_vec());
            DenseTensor {
                point: *point,
                width: neurons.as_ref().map_or(whole, Vec::len),
                neurons,
            }
        };
        let tensors = points.iter().map(tensor);
        Self {
            rows,
            tensors: tensors.filter(|tensor| tensor.width > 0).collect(),
        }
    }

    /// Whether no tensor is left.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors
            .iter()
            .map(|tensor| self.bytes_of(tensor))
            .sum()
    }

    fn bytes_of(&self, tensor: &DenseTensor) -> u64 {
        self.rows * 4 * tensor.width as u64
    }

    /// Length and text of the header, as the format has it: names, types, shapes and places; for chosen neurons the
    /// metadata say which columns they are.
    fn header(&self) -> Result<Vec<u8>, String> {
        let mut offset = 0;
        let info = |tensor: &DenseTensor| {
            let start = offset;
            offset += self.bytes_of(tensor) as usize;
            let info = TensorInfo {
                dtype: Dtype::F32,
                shape: vec![self.rows as usize, tensor.width],
                data_offsets: (start, offset),
            };
            (tensor.point.to_string(), info)
        };
        let tensors = self.tensors.iter().map(info).collect();
        let chosen = self.tensors.iter().filter_map(|tensor| {
            let neurons = tensor.neurons.as_ref()?;
            Some((tensor.point.to_string(), neurons))
        });
        let chosen: BTreeMap<String, &Vec<u32>> = chosen.collect();
        let neurons = serde_json::to_string(&chosen).map_err(|e| e.to_string())?;
        let metadata = HashMap::from([("neurons".to_string(), neurons)]);
        let metadata = (!chosen.is_empty()).then_some(metadata);
        let header = Metadata::new(metadata, tensors).map_err(|e| e.to_string())?;
        let mut text = serde_json::to_vec(&header).map_err(|e| e.to_string())?;
        text.resize(text.len().next_multiple_of(8), b' ');
        Ok([(text.len() as u64).to_le_bytes().as_slice(), &text].concat())
    }
}

/// Writes the tensors.
pub(super) struct DenseWriter {
    path: PathBuf,
    file: File,
    tensors: HashMap<HookPoint, Place>,
    /// Rows of the batch that are recorded, and the row of the first.
    packed: Vec<usize>,
    first_row: u64,
}

struct Place {
    start: u64,
    width: usize,
    neurons: Option<Vec<u32>>,
}

impl DenseWriter {
    /// A file in `folder` with a row of zeros for every token.
    pub fn create(folder: &Path, plan: &DensePlan) -> Result<Self, ReportError> {
        let path = folder.join(PARTIAL);
        let header = encode(plan)?;
        let made = File::create(&path).and_then(|mut file| {
            file.write_all(&header)?;
            file.set_len(header.len() as u64 + plan.bytes())?;
            Ok(file)
        });
        let file = made.map_err(|why| failed(&path, why))?;
        Ok(Self::new(path, file, plan, header.len()))
    }

    /// The file that a stopped run left in `folder`.
    pub fn open(folder: &Path, plan: &DensePlan) -> Result<Self, ReportError> {
        let path = folder.join(PARTIAL);
        let header = encode(plan)?;
        let expected = header.len() as u64 + plan.bytes();
        let opened = OpenOptions::new().write(true).open(&path);
        let opened = opened.and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((found, file)) if found == expected => Ok(Self::new(path, file, plan, header.len())),
            Ok((found, _)) => Err(ReportError::Resume {
                why: format!("it has {found} bytes, {expected} are expected"),
                path,
            }),
            Err(error) => Err(ReportError::Resume {
                why: error.to_string(),
                path,
            }),
        }
    }

    fn new(path: PathBuf, file: File, plan: &DensePlan, header: usize) -> Self {
        let mut start = header as u64;
        let tensors = plan.tensors.iter().map(|tensor| {
            let place = Place {
                start,
                width: tensor.width,
                neurons: tensor.neurons.clone(),
            };
            start += plan.bytes_of(tensor);
            (tensor.point, place)
        });
        Self {
            tensors: tensors.collect(),
            path,
            file,
            packed: Vec::new(),
            first_row: 0,
        }
    }

    /// The pass that comes.
    pub fn begin(&mut self, pass: &Pass) {
        self.packed = pass.rows.iter().map(|row| row.packed).collect();
        self.first_row = pass.first_row;
    }

    /// Waits until all that was written is on the disk.
    pub fn sync(&mut self) -> Result<(), ReportError> {
        self.file.sync_data().map_err(|why| failed(&self.path, why))
    }

    /// Gives the whole file its final name in `folder`.
    pub fn close(self, folder: &Path) -> Result<(), ReportError> {
        link(&self.path, &folder.join(WHOLE))
    }

    fn write(&self, seen: &SiteRows<'_>) -> io::Result<()> {
        let place = &self.tensors[&seen.point];
        let row_bytes = 4 * place.width;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(
            place.start + self.first_row * row_bytes as u64,
        ))?;
        let mut bytes = Vec::with_capacity(BUFFER_BYTES + row_bytes);
        for packed in &self.packed {
            let row = &seen.rows[packed * seen.width..][..seen.width];
            match &place.neurons {
                None => row
                    .iter()
                    .for_each(|value| bytes.extend(value.to_le_bytes())),
                Some(neurons) => neurons
                    .iter()
                    .for_each(|neuron| bytes.extend(row[*neuron as usize].to_le_bytes())),
            }
            if bytes.len() >= BUFFER_BYTES {
                file.write_all(&bytes)?;
                bytes.clear();
            }
        }
        file.write_all(&bytes)
    }
}

impl Observer for DenseWriter {
    fn wants(&self, point: HookPoint) -> bool {
        self.tensors.contains_key(&point)
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        Ok(self.write(seen).map_err(|why| failed(&self.path, why))?)
    }
}

fn encode(plan: &DensePlan) -> Result<Vec<u8>, ReportError> {
    plan.header()
        .map_err(|why| ReportError::Encode { name: WHOLE, why })
}

fn failed(path: &Path, why: io::Error) -> ReportError {
    ReportError::Write {
        path: path.to_owned(),
        why,
    }
}
