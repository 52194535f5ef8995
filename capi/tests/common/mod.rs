//! What the tests of the C interface share: installing the library, compiling programs
//! against it, and running them.
//!
//! The library is a build of its own, in a target directory of its own: it neither waits
//! for the build that runs the tests nor makes it start anew.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
#[allow(clippy::disallowed_types, reason = "tests may wait for each other")]
use std::sync::Mutex;

/// Variables by which the running cargo would change the child's build.
const FOREIGN: [&str; 5] = [
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTDOCFLAGS",
];

/// The folder of this package.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A call that the header declares.
#[derive(Debug)]
pub struct Declared {
    pub name: String,
    /// How many arguments it has.
    pub arguments: usize,
    /// Whether it gives anything.
    pub has_result: bool,
    /// Whether the compiler warns of a program that ignores that.
    pub must_use: bool,
}

/// The calls that the header declares.
pub fn declared() -> Vec<Declared> {
    let header = std::fs::read_to_string(here().join("../include/hugepool.h")).unwrap();
    let code = header.split("extern \"C\" {").nth(1).unwrap();
    let code = code.split("}  // extern").next().unwrap();
    // Without comments.
    let code = code.split("/*").map(|part| match part.split_once("*/") {
        Some((_, code)) => code,
        None => part,
    });
    let code: String = code.collect();
    let calls: Vec<_> = (code.split(';'))
        .filter_map(|call| {
            let (before, arguments) = call.split_once('(')?;
            let words: Vec<_> = before.split_whitespace().collect();
            let (name, kind) = words.split_last()?;
            Some(Declared {
                name: name.trim_start_matches('*').to_owned(),
                arguments: match arguments.trim() {
                    "void)" => 0,
                    some => some.split(',').count(),
                },
                has_result: !kind.contains(&"void"),
                must_use: kind.contains(&"HP_MUST_USE"),
            })
        })
        .collect();
    assert!(calls.len() > 90, "{calls:?}");
    calls
}

/// `capi` in the target directory that this test was built into.
fn target_dir() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let found = own
        .ancestors()
        .find(|directory| directory.join("CACHEDIR.TAG").is_file());
    found.expect("built by cargo").join("capi")
}

/// Runs a command that must succeed; gives what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command.output().expect("it can be run");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}",
        output.status
    );
    text
}

/// Builds the libraries with a profile, and gives the folder that they are in.
pub fn library(profile: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command
        .current_dir(here())
        .args([
            "build",
            "--locked",
            "-p",
            "hugepool-capi",
            "--profile",
            profile,
        ])
        .arg("--target-dir")
        .arg(target_dir());
    run(&mut command);
    // The profile of benches is that of releases, but for what it says otherwise.
    target_dir().join("release")
}

/// `program`, without what the running cargo says, and with the target directory of these
/// tests.
pub fn cargo_free(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for variable in FOREIGN {
        command.env_remove(variable);
    }
    command.env("CARGO_TARGET_DIR", target_dir());
    command
}

/// Runs `install.sh`, or what does, one at a time: it removes what was built before.
pub fn install(command: &mut Command) -> String {
    #[allow(clippy::disallowed_types, reason = "as above")]
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock();
    run(command)
}

/// `install.sh`, which needs to be told where to.
pub fn installer() -> Command {
    cargo_free(here().join("install.sh"))
}

/// Whether `program` is on this machine; says so if it is not.
pub fn has(program: &str) -> bool {
    let has = Command::new(program).arg("--version").output().is_ok();
    if !has {
        println!("skipped: {program} is not here");
    }
    has
}

/// The library, installed by `install.sh` into a folder that no other test has.
pub struct Installed {
    prefix: PathBuf,
}

/// Which of the two libraries a program is linked to.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Shared,
    /// The static one, though the shared one is there.
    Static,
    /// The one that is there, with what pkg-config says for static linking.
    Archive,
    /// The static one, and all else statically.
    Whole,
}

impl Installed {
    pub fn new(test: &str) -> Self {
        let prefix = target_dir().join(test);
        let _ = std::fs::remove_dir_all(&prefix);
        install(installer().env("PREFIX", &prefix));
        Self { prefix }
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.prefix.join(below)
    }

    /// What pkg-config says, or what it would say.
    pub fn flags(&self, arguments: &[&str]) -> Vec<String> {
        let said = Command::new("pkg-config")
            .args(arguments)
            .arg("hugepool")
            .env("PKG_CONFIG_PATH", self.path("lib/pkgconfig"))
            .output();
        if let Ok(said) = said {
            assert!(said.status.success(), "{said:?}");
            let text = String::from_utf8(said.stdout).unwrap();
            return text.split_whitespace().map(str::to_owned).collect();
        }
        println!("skipped: pkg-config is not here");
        let path = |below| self.path(below).display().to_string();
        let mut flags = vec![
            format!("-I{}", path("include/hugepool")),
            format!("-L{}", path("lib")),
            "-lhugepool".to_owned(),
        ];
        if arguments.contains(&"--static") {
            let private = ["util", "rt", "pthread", "m", "dl"];
            flags.extend(private.map(|library| format!("-l{library}")));
        }
        flags
    }

    /// Compiles the program at `source`, with `more` arguments, and gives a command that
    /// runs it.
    pub fn compile(&self, source: &Path, kind: Kind, more: &[&str]) -> Command {
        let is_c = source.extension().is_some_and(|ending| ending == "c");
        self.compile_by(if is_c { "gcc" } else { "g++" }, source, kind, more)
    }

    /// As `compile`, by `compiler`.
    pub fn compile_by(&self, compiler: &str, source: &Path, kind: Kind, more: &[&str]) -> Command {
        let is_c = source.extension().is_some_and(|ending| ending == "c");
        let standard = if is_c { "-std=gnu11" } else { "-std=c++11" };
        let name = source.file_stem().unwrap().to_str().unwrap();
        let program = self.path(&format!("{name}-{kind:?}"));
        let flags = match kind {
            Kind::Shared => self.flags(&["--cflags", "--libs"]),
            Kind::Archive => self.flags(&["--cflags", "--libs", "--static"]),
            Kind::Whole => {
                let mut flags = self.flags(&["--cflags", "--libs", "--static"]);
                flags.push("-static".to_owned());
                flags
            }
            Kind::Static => {
                let flags = self.flags(&["--cflags", "--libs", "--static"]);
                let exactly = |flag: String| match flag.as_str() {
                    "-lhugepool" => "-l:libhugepool.a".to_owned(),
                    _ => flag,
                };
                flags.into_iter().map(exactly).collect()
            }
        };
        run(Command::new(compiler)
            .args([standard, "-Wall", "-Wextra", "-Werror", "-O1", "-o"])
            .arg(&program)
            .arg(source)
            .args(flags)
            .arg("-pthread")
            .args(more));
        let mut command = Command::new(program);
        command.env("LD_LIBRARY_PATH", self.path("lib"));
        command
    }
}
