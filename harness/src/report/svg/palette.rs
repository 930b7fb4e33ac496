//! One look for each buffer class: a colour of its family (weights blue, what grows with context orange, workspace
//! green, the program grey, what nobody owns red) and, within a family, a pattern.

use std::fmt::Write;

use ledger::BufferClass;

/// Patterns that lie over a class' colour, by name and path in a square of eight units.
const PATTERNS: [(&str, &str); 5] = [
    ("rising", "M-2 2L2-2M0 8L8 0M6 10L10 6"),
    ("falling", "M-2 6L2 10M0 0L8 8M6-2L10 2"),
    ("upright", "M2 0V8M6 0V8"),
    ("level", "M0 2H8M0 6H8"),
    ("grid", "M4 0V8M0 4H8"),
];

/// What a bar can stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A buffer class.
    Class(BufferClass),
    /// Held at the peak, and released or not attributed at the edge where the ledger was read.
    Released,
}

impl Kind {
    /// Every kind, in the order of charts.
    pub fn all() -> impl Iterator<Item = Kind> {
        BufferClass::ALL.iter().copied().map(Kind::Class).chain([Kind::Released])
    }

    /// The name as it stands on the screen.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Class(class) => class.name(),
            Kind::Released => "not attributed",
        }
    }

    /// The name of its style.
    pub fn slug(self) -> String {
        match self {
            Kind::Class(class) => class.name().replace(['.', '_'], "-"),
            Kind::Released => "released".to_owned(),
        }
    }

    /// The attribute that fills a shape with its look.
    pub fn fill(self) -> String {
        match self.pattern() {
            Some(_) => format!("fill=\"url(#p-{})\"", self.slug()),
            None => format!("class=\"k-{}\"", self.slug()),
        }
    }

    fn pattern(self) -> Option<&'static str> {
        let Kind::Class(class) = self else { return Some("falling") };
        match class {
            BufferClass::WeightsLinear
            | BufferClass::KvCache
            | BufferClass::PrefillWorkspace
            | BufferClass::Program => None,
            BufferClass::WeightsEmbedding | BufferClass::DeviceContext => Some("upright"),
            BufferClass::Driver => Some("rising"),
            BufferClass::WeightsLmHead | BufferClass::RecurrentState | BufferClass::DecodeWorkspace => {
                Some("rising")
            }
            BufferClass::WeightsDraft | BufferClass::ConvState | BufferClass::Logits => Some("grid"),
            BufferClass::WeightsNorm | BufferClass::Rollback | BufferClass::Rope => Some("level"),
            BufferClass::StreamRing | BufferClass::Tokenizer | BufferClass::Unaccounted => Some("falling"),
        }
    }

    /// A small square of this look, for legends and tables: one of those that [`definitions`] has.
    pub fn swatch(self) -> String {
        format!("<svg class=\"swatch\" aria-hidden=\"true\"><use href=\"#s-{}\"/></svg>", self.slug())
    }
}

/// The patterns and swatches that a page refers to, once a page.
pub fn definitions() -> String {
    let mut out = String::from("<svg class=\"defs\" width=\"0\" height=\"0\" aria-hidden=\"true\"><defs>");
    for kind in Kind::all() {
        let Some((_, path)) = PATTERNS.iter().find(|(name, _)| Some(*name) == kind.pattern()) else {
            continue;
        };
        let slug = kind.slug();
        let _ = write!(
            out,
            "<pattern id=\"p-{slug}\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\">\
             <rect width=\"8\" height=\"8\" class=\"k-{slug}\"/><path d=\"{path}\" class=\"pt pt-{slug}\"/></pattern>"
        );
    }
    for kind in Kind::all() {
        let (slug, fill) = (kind.slug(), kind.fill());
        let _ = write!(
            out,
            "<symbol id=\"s-{slug}\"><rect width=\"12\" height=\"12\" rx=\"2\" {fill}/></symbol>"
        );
    }
    out.push_str("</defs></svg>");
    out
}
