//! What the tests of the program share: running it, a place for its files, and strict readers of JSON and of
//! pages.

#![allow(dead_code, reason = "not every test needs all of it")]

#[path = "../../../tests/support/filter.rs"]
pub mod filter;
pub mod markup;
pub mod object;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// How a run ended.
pub struct Outcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs the program as it was built.
pub fn hugepool(args: &[&str]) -> Outcome {
    let output = Command::new(env!("CARGO_BIN_EXE_hugepool"))
        .args(args)
        .output()
        .expect("the program starts");
    let text = |bytes| String::from_utf8(bytes).expect("the program prints UTF-8");
    Outcome {
        code: output.status.code().expect("the program exits by itself"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// A run of `bench` that is over soon; what is added must not name these options again.
pub fn quick(more: &[&str]) -> Outcome {
    let mut args = vec!["bench", "--rounds", "1", "--millis", "1"];
    args.extend(more);
    hugepool(&args)
}

/// A short run of `bench` that must succeed, with nothing wrong with any rival, and its result. (store-io-buf loses
/// buffers.)
pub fn measured(test: &str, options: &[&str]) -> (Outcome, Json) {
    let directory = Directory::new(test);
    let json = directory.path("out.json");
    let run = quick(&[options, &["--json", &json]].concat());
    assert_eq!(run.code, 0, "{options:?}: {}", run.stderr);
    assert!(!run.stdout.contains("left out"), "{}", run.stdout);
    for line in run.stderr.lines() {
        assert!(line.starts_with("note: store-io-buf,"), "{line}");
    }
    let document = result(&json);
    (run, document)
}

/// A run of `bench` that must be refused for its options, with these words.
pub fn refused(options: &[&str], words: &[&str]) {
    let run = quick(&[&["--patterns", "same", "--rivals", "hugepool"], options].concat());
    assert_eq!(run.code, 2, "{options:?}: {}", run.stderr);
    for word in words {
        assert!(
            run.stderr.contains(word),
            "{options:?}: {word} not in: {}",
            run.stderr
        );
    }
    assert!(run.stdout.is_empty(), "{options:?}: nothing was run");
}

/// A directory of the test's own, gone with it.
pub struct Directory(PathBuf);

impl Directory {
    pub fn new(test: &str) -> Directory {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("the target directory can be written");
        Directory(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// A field of an object; panics where there is none.
    pub fn field(&self, wanted: &str) -> &Json {
        let Json::Object(fields) = self else {
            panic!("no object: {self:?}")
        };
        let found = fields.iter().find(|(name, _)| name == wanted);
        &found
            .unwrap_or_else(|| panic!("no field {wanted}: {self:?}"))
            .1
    }

    /// The values of an array.
    pub fn values(&self) -> &[Json] {
        match self {
            Json::Array(values) => values,
            other => panic!("no array: {other:?}"),
        }
    }

    /// A text's.
    pub fn text(&self) -> &str {
        match self {
            Json::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    /// A number's.
    pub fn number(&self) -> f64 {
        match self {
            Json::Number(number) => *number,
            other => panic!("no number: {other:?}"),
        }
    }
}

/// Reads the result of a run of `bench`.
pub fn result(path: &str) -> Json {
    parse_json(&fs::read_to_string(path).expect("the JSON file was written"))
}

/// Reads a whole text as one value; panics where it is not JSON.
pub fn parse_json(text: &str) -> Json {
    let mut reader = Reader {
        rest: text.trim_end(),
    };
    let value = reader.value();
    assert!(
        reader.rest.is_empty(),
        "more than one value: {}",
        reader.rest
    );
    value
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn eat(&mut self, token: &str) -> bool {
        self.rest = self.rest.trim_start_matches('\n');
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn must(&mut self, token: &str) {
        assert!(self.eat(token), "no {token} at: {}", self.rest);
    }

    fn value(&mut self) -> Json {
        if self.eat("null") {
            Json::Null
        } else if self.eat("true") {
            Json::Bool(true)
        } else if self.eat("false") {
            Json::Bool(false)
        } else if self.eat("[") {
            Json::Array(self.list("]", Reader::value))
        } else if self.eat("{") {
            Json::Object(self.list("}", |reader| {
                let name = reader.text();
                reader.must(":");
                (name, reader.value())
            }))
        } else if self.rest.starts_with('"') {
            Json::Text(self.text())
        } else {
            let end = self
                .rest
                .find(|c: char| !(c.is_ascii_digit() || "+-.eE".contains(c)))
                .unwrap_or(self.rest.len());
            let (number, rest) = self.rest.split_at(end);
            self.rest = rest;
            Json::Number(number.parse().expect("a number"))
        }
    }

    fn list<T>(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mut items = Vec::new();
        while !self.eat(end) {
            if !items.is_empty() {
                self.must(",");
            }
            items.push(item(self));
        }
        items
    }

    fn text(&mut self) -> String {
        self.must("\"");
        let mut text = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next().expect("a string ends") {
                '"' => break,
                '\\' => text.push(match chars.next().expect("an escape is whole") {
                    'n' => '\n',
                    'u' => {
                        let digits: String = chars.by_ref().take(4).collect();
                        let code = u32::from_str_radix(&digits, 16).expect("four digits");
                        char::from_u32(code).expect("a character")
                    }
                    c @ ('"' | '\\') => c,
                    c => panic!("an unknown escape: {c}"),
                }),
                c => {
                    assert!(c >= ' ', "a bare control character");
                    text.push(c);
                }
            }
        }
        self.rest = chars.as_str();
        text
    }
}
