//! Which sizes are consistent. The upper bounds are far above any model, and keep every product inside a `u64`.

use super::error::ConfigProblem;
use super::model::{LayerKind, ModelConfig};

pub(super) const LAYERS: u64 = 1024;
pub(super) const WIDTH: u64 = 1 << 20;
pub(super) const VOCABULARY: u64 = 1 << 24;
pub(super) const HEADS: u64 = 4096;
pub(super) const HEAD_DIM: u64 = 4096;
pub(super) const CONV_KERNEL: u64 = 64;
pub(super) const POSITIONS: u64 = 1 << 31;

/// Columns of a linear layer come in blocks of this many, the smallest quantisation group.
const COLUMN_BLOCK: usize = 32;

/// Values of an attention head come in blocks of this many: a full register of the widest kernel.
const HEAD_BLOCK: usize = 16;

/// `value` as a `usize`, if it is in `least..=most`.
pub(super) fn checked(value: u64, key: &'static str, least: u64, most: u64) -> Result<usize, ConfigProblem> {
    let out_of_range = || ConfigProblem::OutOfRange { key, value: value.to_string(), least, most };
    if !(least..=most).contains(&value) {
        return Err(out_of_range());
    }
    usize::try_from(value).map_err(|_| out_of_range())
}

/// The rules between the sizes of a config whose single sizes are in range.
pub(super) fn check(config: &ModelConfig) -> Result<(), ConfigProblem> {
    let attention = &config.attention;
    let mut columns = vec![
        ("`hidden_size`", config.hidden_size),
        ("`intermediate_size`", config.intermediate_size),
        ("`num_attention_heads` * `head_dim`", attention.output_columns()),
    ];
    let mut multiples =
        vec![("num_attention_heads", attention.query_heads, "num_key_value_heads", attention.kv_heads)];
    if let Some(linear) = &config.linear_attention {
        columns.push(("`linear_num_value_heads` * `linear_value_head_dim`", linear.value_rows()));
        multiples.push((
            "linear_num_value_heads",
            linear.value_heads,
            "linear_num_key_heads",
            linear.key_heads,
        ));
    }
    for (name, value) in columns {
        ensure(value.is_multiple_of(COLUMN_BLOCK), || {
            format!("{name} is {value}, which is not a multiple of {COLUMN_BLOCK}")
        })?;
    }
    ensure(attention.head_dim.is_multiple_of(HEAD_BLOCK), || {
        format!("`head_dim` is {}, which is not a multiple of {HEAD_BLOCK}", attention.head_dim)
    })?;
    for (name, value, part_name, part) in multiples {
        ensure(value.is_multiple_of(part), || {
            format!("`{name}` is {value}, which is not a multiple of `{part_name}` {part}")
        })?;
    }
    ensure(config.rms_norm_eps > 0.0 && config.rms_norm_eps < 1.0, || {
        format!("`rms_norm_eps` is {}, which is not between 0 and 1", config.rms_norm_eps)
    })?;
    ensure(attention.rope_theta > 1.0 && attention.rope_theta.is_finite(), || {
        format!("`rope_theta` is {}, which is not a finite number above 1", attention.rope_theta)
    })?;
    let linear_layers = config.count(LayerKind::LinearAttention);
    ensure((linear_layers > 0) == config.linear_attention.is_some(), || {
        format!("{linear_layers} layers are linear attention, but their sizes say otherwise")
    })
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), ConfigProblem> {
    if holds { Ok(()) } else { Err(ConfigProblem::Inconsistent { what: what() }) }
}
