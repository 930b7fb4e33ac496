//! `quantization_config` of a `config.json`, checked. It says which layout packed tensors have and how their groups
//! are cut; which modules are packed is decided by the tensors that exist.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// What a checkpoint may be quantised with, for messages.
pub(super) const SUPPORTED: &str = "AutoAWQ GEMM (`awq`), compressed-tensors `pack-quantized` (`compressed-tensors`), GPTQ v1 and v2 (`gptq`), AutoRound in those two layouts (`auto-round`), all at 4 bits, and unquantised bf16, f16 or f32";

/// Why a quantisation is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QuantizationProblem {
    /// Malformed.
    #[error("{0}; correct the value at that line")]
    Json(serde_json::Error),
    /// A key is absent.
    #[error("`quantization_config.{key}` is missing; use the config.json that belongs to the weights")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A method without a reader.
    #[error("quant_method `{method}` is not supported; supported are {SUPPORTED}")]
    Method {
        /// Its name.
        method: String,
    },
    /// Packed tensors of a layout that the configuration does not announce.
    #[error(
        "tensor `{tensor}` is packed in a layout that `quantization_config` does not announce; use the config.json that belongs to the weights"
    )]
    Unexplained {
        /// The tensor.
        tensor: String,
    },
    /// A group that kernels cannot cut.
    #[error(
        "group size {group_size} is not a multiple of 32; quantise again with a group size of 32, 64 or 128"
    )]
    GroupSize {
        /// Columns in a group.
        group_size: i64,
    },
    /// A variant of a known method.
    #[error("`{key}` is {value}, but {why}; use a checkpoint in one of the supported forms: {SUPPORTED}")]
    Feature {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What the reader expects.
        why: &'static str,
    },
}

/// How packed tensors are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Quantization {
    /// No packed tensors.
    None,
    /// AutoAWQ, GEMM version.
    Awq(Groups),
    /// compressed-tensors `pack-quantized`: what each of its config groups allows.
    CompressedTensors(Vec<CompressedGroup>),
    /// GPTQ; `zero_offset` is added to stored zero points: 1 in version 1, 0 in version 2.
    Gptq { groups: Groups, zero_offset: u8, desc_act: bool },
}

/// How columns are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Groups {
    /// This many columns a group.
    Of(usize),
    /// One group a row.
    WholeRow,
}

impl Groups {
    /// Columns in a group of a row of `columns`.
    pub(super) fn size(self, columns: usize) -> usize {
        match self {
            Groups::Of(size) => size,
            Groups::WholeRow => columns,
        }
    }
}

/// One entry of `config_groups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CompressedGroup {
    pub(super) groups: Groups,
    pub(super) symmetric: bool,
}

impl Quantization {
    /// Reads the `quantization_config` of the text of a `config.json`, at its top or in its `text_config`.
    pub(super) fn parse(config: &str) -> Result<Quantization, QuantizationProblem> {
        // The method alone first: another method may give the same keys other types.
        let Some(Method { quant_method }) = section(config)? else { return Ok(Quantization::None) };
        let method = quant_method.ok_or(QuantizationProblem::Missing { key: "quant_method" })?;
        if !METHODS.contains(&method.as_str()) {
            return Err(QuantizationProblem::Method { method });
        }
        match section::<RawQuantization>(config)? {
            Some(raw) => raw.check(&method),
            None => Ok(Quantization::None),
        }
    }
}

/// The `quant_method`s that have a reader.
const METHODS: [&str; 5] = ["awq", "gptq", "auto-round", "intel/auto-round", "compressed-tensors"];

/// The keys `T` of the `quantization_config`.
fn section<T: DeserializeOwned>(config: &str) -> Result<Option<T>, QuantizationProblem> {
    let file: ConfigFile<T> = serde_json::from_str(config).map_err(QuantizationProblem::Json)?;
    let nested = file.text_config.and_then(|text| text.quantization_config);
    Ok(file.quantization_config.or(nested))
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct ConfigFile<T> {
    quantization_config: Option<T>,
    text_config: Option<TextConfig<T>>,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct TextConfig<T> {
    quantization_config: Option<T>,
}

#[derive(Deserialize)]
struct Method {
    quant_method: Option<String>,
}

#[derive(Deserialize)]
struct RawQuantization {
    bits: Option<i64>,
    group_size: Option<i64>,
    version: Option<String>,
    zero_point: Option<bool>,
    desc_act: Option<bool>,
    checkpoint_format: Option<String>,
    packing_format: Option<String>,

    format: Option<String>,
    config_groups: Option<std::collections::BTreeMap<String, RawGroup>>,
    transform_config: Option<serde_json::Value>,
    sparsity_config: Option<RawSparsity>,
}

#[derive(Deserialize)]
struct RawGroup {
    format: Option<String>,
    weights: Option<RawWeights>,
    input_activations: Option<serde_json::Value>,
    output_activations: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawWeights {
    num_bits: Option<i64>,
    #[serde(rename = "type")]
    kind: Option<String>,
    strategy: Option<String>,
    group_size: Option<i64>,
    symmetric: Option<bool>,
}

#[derive(Deserialize)]
struct RawSparsity {
    format: Option<String>,
}

impl RawQuantization {
    fn check(&self, method: &str) -> Result<Quantization, QuantizationProblem> {
        match (method, self.packing_format.as_deref()) {
            ("awq", _) | ("auto-round" | "intel/auto-round", Some("auto_round:auto_awq")) => self.check_awq(),
            ("gptq", _) | ("auto-round" | "intel/auto-round", Some("auto_round:auto_gptq")) => {
                self.check_gptq()
            }
            ("auto-round" | "intel/auto-round", packing) => {
                let value = packing.map_or("absent".to_owned(), |packing| format!("`{packing}`"));
                refuse("packing_format", value, "`auto_round:auto_gptq` or `auto_round:auto_awq` is read")
            }
            ("compressed-tensors", _) => self.check_compressed_tensors(),
            (other, _) => Err(QuantizationProblem::Method { method: other.to_owned() }),
        }
    }

    fn check_awq(&self) -> Result<Quantization, QuantizationProblem> {
        check_bits(self.bits, "bits")?;
        let version = self.version.as_deref().unwrap_or("gemm");
        if !version.eq_ignore_ascii_case("gemm") {
            return refuse("version", format!("`{version}`"), "the GEMM layout is read");
        }
        if self.zero_point == Some(false) {
            return refuse("zero_point", "false".into(), "AutoAWQ GEMM stores zero points");
        }
        Ok(Quantization::Awq(check_groups(self.group_size)?))
    }

    fn check_gptq(&self) -> Result<Quantization, QuantizationProblem> {
        check_bits(self.bits, "bits")?;
        let zero_offset = match self.checkpoint_format.as_deref() {
            None | Some("gptq") => 1,
            Some("gptq_v2") => 0,
            Some(other) => {
                return refuse("checkpoint_format", format!("`{other}`"), "`gptq` or `gptq_v2` is read");
            }
        };
        let groups = check_groups(self.group_size)?;
        Ok(Quantization::Gptq { groups, zero_offset, desc_act: self.desc_act.unwrap_or(false) })
    }

    fn check_compressed_tensors(&self) -> Result<Quantization, QuantizationProblem> {
        let sparsity = self.sparsity_config.as_ref().and_then(|sparsity| sparsity.format.as_deref());
        if let Some(format) = sparsity.filter(|&format| format != "dense") {
            return refuse("sparsity_config.format", format!("`{format}`"), "weights are read as dense");
        }
        if self.transform_config.as_ref().is_some_and(|transform| !is_empty(transform)) {
            let why = "rotations of activations are not applied";
            return refuse("transform_config", "present".into(), why);
        }
        let groups =
            self.config_groups.as_ref().ok_or(QuantizationProblem::Missing { key: "config_groups" })?;
        let groups: Result<Vec<_>, _> =
            groups.values().map(|group| group.check(self.format.as_deref())).collect();
        Ok(Quantization::CompressedTensors(groups?))
    }
}

impl RawGroup {
    fn check(&self, outer_format: Option<&str>) -> Result<CompressedGroup, QuantizationProblem> {
        let format = self.format.as_deref().or(outer_format);
        let format = format.ok_or(QuantizationProblem::Missing { key: "format" })?;
        if format != "pack-quantized" {
            return refuse("format", format!("`{format}`"), "`pack-quantized` is read");
        }
        for (key, activations) in
            [("input_activations", &self.input_activations), ("output_activations", &self.output_activations)]
        {
            if activations.as_ref().is_some_and(|value| !value.is_null()) {
                return refuse(key, "present".into(), "activations keep their precision");
            }
        }
        let weights = self.weights.as_ref().ok_or(QuantizationProblem::Missing { key: "weights" })?;
        check_bits(weights.num_bits, "num_bits")?;
        if let Some(kind) = weights.kind.as_deref().filter(|&kind| kind != "int") {
            return refuse("weights.type", format!("`{kind}`"), "`int` is read");
        }
        let groups = match weights.strategy.as_deref() {
            Some("group") => check_groups(weights.group_size)?,
            Some("channel") => Groups::WholeRow,
            Some(other) => {
                return refuse("weights.strategy", format!("`{other}`"), "`group` or `channel` is read");
            }
            None => return Err(QuantizationProblem::Missing { key: "weights.strategy" }),
        };
        Ok(CompressedGroup { groups, symmetric: weights.symmetric.unwrap_or(true) })
    }
}

fn check_bits(bits: Option<i64>, key: &'static str) -> Result<(), QuantizationProblem> {
    match bits {
        Some(4) => Ok(()),
        Some(other) => refuse(key, other.to_string(), "4 bits are read"),
        None => Err(QuantizationProblem::Missing { key }),
    }
}

/// -1 stands for one group a row in AutoAWQ and GPTQ.
fn check_groups(group_size: Option<i64>) -> Result<Groups, QuantizationProblem> {
    match group_size.ok_or(QuantizationProblem::Missing { key: "group_size" })? {
        -1 => Ok(Groups::WholeRow),
        group_size @ 32..=0x10_0000 if group_size % 32 == 0 => Ok(Groups::Of(group_size as usize)),
        group_size => Err(QuantizationProblem::GroupSize { group_size }),
    }
}

fn refuse<T>(key: &'static str, value: String, why: &'static str) -> Result<T, QuantizationProblem> {
    Err(QuantizationProblem::Feature { key, value, why })
}

fn is_empty(value: &serde_json::Value) -> bool {
    value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
}
