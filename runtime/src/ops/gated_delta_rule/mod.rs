//! The gated delta rule (arXiv 2412.06464, equation 10): linear attention whose memory of the past is one matrix a head.
//!
//! For each value head, with key head `h / (value_heads / key_heads)`, state `S` of `[dk, dv]`, and for each token in turn:
//!
//! ```text
//! k = k / sqrt(sum(k^2) + 1e-6)     q = q / sqrt(sum(q^2) + 1e-6) / sqrt(dk)
//! S = exp(g) S                      decay first,
//! d = beta (v - S^T k)              then what the decayed state does not know yet,
//! S = S + k d^T                     then the correction,
//! o = S^T q                         and the output sees it
//!
//! g = -exp(A_log) softplus(a + dt_bias)     beta = sigmoid(b)
//! ```
//!
//! Chunked form, exact, for `C` tokens at a time (equations 11 to 15 of the paper, solved for `D = [d_1 .. d_C]` directly), with
//! `G_i = g_1 + .. + g_i`:
//!
//! ```text
//! A_ij = beta_i (k_i . k_j) exp(G_i - G_j)      i > j, else 0
//! (I + A) D = diag(beta) (V - diag(exp(G)) K S)     forward substitution
//! O = diag(exp(G)) Q S + M D                    M_ij = (q_i . k_j) exp(G_i - G_j), i >= j, else 0
//! S = exp(G_C) S + (diag(exp(G_C - G)) K)^T D
//! ```
//!
//! Only differences `G_i - G_j <= 0` are exponentiated: heads with `exp(A_log) = 16` reach `g = -100` in one token, where
//! `exp(G_i) / exp(G_j)` would be `0 / 0`.
//!
//! | argument | shape | |
//! |---|---|---|
//! | `qkv` | `[T, 2 * key_heads * dk + value_heads * dv]` | `q`, `k`, `v` side by side, after the convolution, not normalised |
//! | `g`, `beta` | `[T, value_heads]` | from [`gates`] |
//! | `state` | `[value_heads, dk, dv]` | in and out; zeros before the first token |
//! | `out` | `[T, value_heads, dv]` | |
//!
//! State: `4 * value_heads * dk * dv` bytes a layer and sequence, at any length. Workspace: none for [`recurrent`];
//! [`Shape::chunked_workspace`] for [`chunked`]; none for [`forward`].
//!
//! [`recurrent`] flushes state values below 2^-63 and decays below 2^-62 to 0: a head that forgets without learning would
//! otherwise end in subnormal numbers, on which many processors are ten times slower.
//!
//! [`verify`] computes the outputs of tokens that may yet be rejected: the state stays what it was, each token's update goes to a
//! log of [`Shape::log_row`] values, and [`commit`] applies as many of them as were accepted. Both give the bits of [`recurrent`].
//!
//! [`recurrent`] gives the same bits for any split of a sequence into calls and any number of threads. [`chunked`] agrees
//! with it to about 1e-6 of the largest value.

mod chunked;
mod gates;
mod recurrent;
pub mod reference;
mod shape;
#[cfg(test)]
mod tests;
mod update_log;

pub use chunked::chunked;
pub use gates::gates;
pub use recurrent::{MOST_VERIFIED_KEYS, forward, recurrent, verify};
pub use shape::{Inputs, Shape};
pub use update_log::commit;
