//! From tokens to tests. The grammar, `or` binding least:
//!
//! ```text
//! condition  = all { "or" all }
//! all        = term { "and" term }
//! term       = "not" term | "(" condition ")" | NAME [ comparison ]
//! comparison = ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) VALUE
//!            | [ "not" ] "in" "[" VALUE { "," VALUE } "]"
//! ```

use std::ops::Range;

use super::super::diagnostic::Diagnostic;
use super::super::located::Located;
use super::Order;
use super::token::{Token, tokens};

/// The words of the language: no names, and values only in quotes.
pub(super) const WORDS: [&str; 4] = ["and", "or", "not", "in"];

/// Brackets and `not`s within each other, at most: what is read must not take the stack.
const MOST_NESTED: usize = 16;

/// Units that may stand apart from their number.
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// What is written, names and values unchecked.
#[derive(Debug, Clone)]
pub(in crate::scenario) enum Written {
    /// Joined by `and`.
    All(Vec<Written>),
    /// Joined by `or`.
    Any(Vec<Written>),
    /// Behind `not`.
    Not(Box<Written>),
    /// A name, and what is asked of its value.
    Test(Located<String>, Test),
}

/// What is asked of a value.
#[derive(Debug, Clone)]
pub(in crate::scenario) enum Test {
    /// Nothing: it is a switch, and on.
    IsOn,
    /// It is one of these.
    OneOf(Vec<Located<String>>),
    /// It is none of these.
    NoneOf(Vec<Located<String>>),
    /// It stands so to this.
    Compared(Order, Located<String>),
}

/// Reads `text`; places are bytes of it.
pub(in crate::scenario) fn parse(text: &str) -> Result<Written, Diagnostic> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, nested: 0, end: text.len() };
    if parser.tokens.is_empty() {
        return Err(Diagnostic::new("this condition is empty", 0..text.len()));
    }
    let written = parser.condition()?;
    match parser.tokens.get(parser.next) {
        None => Ok(written),
        Some((_, span)) => Err(Diagnostic::new("expected `and`, `or` or the end here", span.clone())),
    }
}

struct Parser<'t> {
    tokens: Vec<(Token<'t>, Range<usize>)>,
    next: usize,
    nested: usize,
    end: usize,
}

impl<'t> Parser<'t> {
    fn peek(&self) -> Option<Token<'t>> {
        self.tokens.get(self.next).map(|(token, _)| *token)
    }

    /// The place of the next token; a point behind the last one.
    fn place(&self) -> Range<usize> {
        self.tokens.get(self.next).map_or(self.end..self.end, |(_, span)| span.clone())
    }

    fn eat(&mut self, wanted: Token<'static>) -> bool {
        let found = self.peek() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    fn condition(&mut self) -> Result<Written, Diagnostic> {
        let mut any = vec![self.all()?];
        while self.eat(Token::Word("or")) {
            any.push(self.all()?);
        }
        Ok(if any.len() == 1 { any.remove(0) } else { Written::Any(any) })
    }

    fn all(&mut self) -> Result<Written, Diagnostic> {
        let mut all = vec![self.term()?];
        while self.eat(Token::Word("and")) {
            all.push(self.term()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Written::All(all) })
    }

    fn term(&mut self) -> Result<Written, Diagnostic> {
        let place = self.place();
        let opens = self.peek() == Some(Token::Sign("("));
        if opens || self.peek() == Some(Token::Word("not")) {
            self.next += 1;
            self.nested += 1;
            if self.nested > MOST_NESTED {
                let message = format!("more than {MOST_NESTED} brackets and `not`s stand within each other");
                return Err(Diagnostic::new(message, place));
            }
            let inner = if opens { self.condition()? } else { Written::Not(Box::new(self.term()?)) };
            self.nested -= 1;
            if opens && !self.eat(Token::Sign(")")) {
                return Err(Diagnostic::new("this bracket does not close", place));
            }
            return Ok(inner);
        }
        match self.peek() {
            Some(Token::Word(name)) if !WORDS.contains(&name) => {
                self.next += 1;
                let test = self.test()?;
                Ok(Written::Test(Located { value: name.to_owned(), span: place }, test))
            }
            _ => Err(Diagnostic::new("expected a name here, `not`, or a bracket", place)
                .hint("for example `maxInputLen > 1024`")),
        }
    }

    fn test(&mut self) -> Result<Test, Diagnostic> {
        let signs = [("<", Order::Below), ("<=", Order::AtMost), (">=", Order::AtLeast), (">", Order::Above)];
        if self.eat(Token::Sign("==")) {
            return Ok(Test::OneOf(vec![self.value()?]));
        }
        if self.eat(Token::Sign("!=")) {
            return Ok(Test::NoneOf(vec![self.value()?]));
        }
        for (sign, order) in signs {
            if self.eat(Token::Sign(sign)) {
                return Ok(Test::Compared(order, self.value()?));
            }
        }
        if self.eat(Token::Word("in")) {
            return self.list().map(Test::OneOf);
        }
        if self.eat(Token::Word("not")) {
            if self.eat(Token::Word("in")) {
                return self.list().map(Test::NoneOf);
            }
            return Err(
                Diagnostic::new("expected `in` here", self.place()).hint("for example `not in [1, 2]`")
            );
        }
        Ok(Test::IsOn)
    }

    fn list(&mut self) -> Result<Vec<Located<String>>, Diagnostic> {
        let mistake =
            |place| Diagnostic::new("expected a list here", place).hint("for example `[32k, full]`");
        if !self.eat(Token::Sign("[")) {
            return Err(mistake(self.place()));
        }
        let mut values = vec![self.value()?];
        while self.eat(Token::Sign(",")) {
            values.push(self.value()?);
        }
        if self.eat(Token::Sign("]")) { Ok(values) } else { Err(mistake(self.place())) }
    }

    fn value(&mut self) -> Result<Located<String>, Diagnostic> {
        let mut span = self.place();
        let value = match self.peek() {
            Some(Token::Quoted(value)) => value.to_owned(),
            Some(Token::Word(word)) if !WORDS.contains(&word) => {
                let is_number = word.chars().all(|c| c.is_ascii_digit() || "._".contains(c));
                match self.tokens.get(self.next + 1) {
                    Some((Token::Word(unit), place)) if is_number && UNITS.contains(unit) => {
                        self.next += 1;
                        span.end = place.end;
                        format!("{word}{unit}")
                    }
                    _ => word.to_owned(),
                }
            }
            _ => return Err(Diagnostic::new("expected a value here", span)),
        };
        self.next += 1;
        Ok(Located { value, span })
    }
}
