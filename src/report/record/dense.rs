//! `activations.safetensors`: whole tensors of chosen sites, written row by row at their places.
//!
//! All sizes are known from the tokens, so the header goes first. A pass writes its rows of every tensor when the engine
//! gets there, into a file of its own, and nothing is kept; at the end the rows of the passes are put behind each other.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::super::ReportError;
use super::super::owned::link;
use crate::experiment::record::RecordedRows;
use crate::hooks::{HookPoint, NeuronSet, Observer, ReadError, Selection, SiteRows};
use crate::model::Config;

/// The file.
pub(super) const NAME: &str = "activations.safetensors";

/// Written at once.
const BUFFER_BYTES: usize = 1 << 20;

/// One tensor, `[rows, width]`.
#[derive(Clone)]
struct DenseTensor {
    point: HookPoint,
    /// The columns; absent where all are recorded.
    neurons: Option<Vec<u32>>,
    width: usize,
}

/// Which tensors the file has.
#[derive(Clone)]
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

    /// The same tensors with so many rows.
    pub fn with_rows(&self, rows: u64) -> Self {
        Self {
            rows,
            ..self.clone()
        }
    }

    /// Puts the rows of some files, each of a pass, behind each other in a file in `folder`.
    pub(super) fn join(&self, passes: &[PathBuf], folder: &Path) -> Result<(), ReportError> {
        let to = folder.join(NAME);
        if let [only] = passes {
            return link(only, &to).map_err(|why| failed(&to, why));
        }
        let header = encode(self)?;
        let write = || {
            let mut parts = passes
                .iter()
                .map(|path| DensePart::open(path))
                .collect::<io::Result<Vec<_>>>()?;
            let mut file = BufWriter::with_capacity(BUFFER_BYTES, File::create(&to)?);
            file.write_all(&header)?;
            for tensor in &self.tensors {
                for part in &mut parts {
                    part.copy(4 * tensor.width as u64, &mut file)?;
                }
            }
            file.into_inner()?.sync_data()
        };
        write().map_err(|why| failed(&to, why))
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

/// The file of a pass, tensor after tensor.
struct DensePart {
    file: File,
    rows: u64,
}

impl DensePart {
    /// Behind its header.
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut length = [0; 8];
        file.read_exact(&mut length)?;
        let mut header = vec![0; u64::from_le_bytes(length) as usize];
        file.read_exact(&mut header)?;
        let metadata: Metadata = serde_json::from_slice(&header)?;
        let rows = metadata.tensors().into_values().next();
        let rows = rows.map_or(0, |tensor| tensor.shape[0] as u64);
        Ok(Self { file, rows })
    }

    /// Copies its rows of the next tensor.
    fn copy(&mut self, row_bytes: u64, to: &mut impl Write) -> io::Result<()> {
        let bytes = self.rows * row_bytes;
        let copied = io::copy(&mut (&self.file).take(bytes), to)?;
        if copied == bytes {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

/// Writes the tensors of a pass.
pub(super) struct DenseWriter {
    path: PathBuf,
    file: File,
    tensors: HashMap<HookPoint, Place>,
    /// Rows of the batch that are recorded.
    packed: Vec<usize>,
}

struct Place {
    start: u64,
    width: usize,
    neurons: Option<Vec<u32>>,
}

impl DenseWriter {
    /// The file of a pass, as long as it will be.
    pub fn create(
        path: PathBuf,
        plan: &DensePlan,
        recorded: &RecordedRows,
    ) -> Result<Self, ReportError> {
        let plan = plan.with_rows(recorded.rows.len() as u64);
        let header = encode(&plan)?;
        let made = File::create(&path).and_then(|mut file| {
            file.write_all(&header)?;
            file.set_len(header.len() as u64 + plan.bytes())?;
            Ok(file)
        });
        let file = made.map_err(|why| failed(&path, why))?;
        let mut start = header.len() as u64;
        let tensors = plan.tensors.iter().map(|tensor| {
            let place = Place {
                start,
                width: tensor.width,
                neurons: tensor.neurons.clone(),
            };
            start += plan.bytes_of(tensor);
            (tensor.point, place)
        });
        Ok(Self {
            tensors: tensors.collect(),
            path,
            file,
            packed: recorded.rows.iter().map(|row| row.packed).collect(),
        })
    }

    fn write(&self, seen: &SiteRows<'_>) -> io::Result<()> {
        let place = &self.tensors[&seen.point];
        let row_bytes = 4 * place.width;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(place.start))?;
        let mut bytes = Vec::with_capacity(BUFFER_BYTES + row_bytes);
        for row in seen.rows.chunks_exact(seen.width) {
            row.iter()
                .for_each(|value| bytes.extend(value.to_le_bytes()));
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

    fn selects(&self, point: HookPoint) -> Selection<'_> {
        Selection {
            rows: Some(&self.packed),
            columns: self.tensors[&point].neurons.as_deref(),
        }
    }

    fn observe(&mut self, seen: &SiteRows<'_>) -> Result<(), ReadError> {
        Ok(self.write(seen).map_err(|why| failed(&self.path, why))?)
    }
}

fn encode(plan: &DensePlan) -> Result<Vec<u8>, ReportError> {
    plan.header()
        .map_err(|why| ReportError::Encode { name: NAME, why })
}

fn failed(path: &Path, why: io::Error) -> ReportError {
    ReportError::Write {
        path: path.to_owned(),
        why,
    }
}
