//! `completions`, `man`: what a shell and `man` know of the program, made of its own arguments.

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Print a shell's completions of this program
///
/// For bash: `gatelens completions bash > ~/.local/share/bash-completion/completions/gatelens`.
#[derive(Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    pub(super) fn run(self, mut program: Command) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "gatelens", &mut script);
        out!("{}", String::from_utf8(script)?);
        Ok(())
    }
}

/// Print a man page, of the program or of one of its commands
///
/// To read one: `gatelens man ablate > gatelens-ablate.1; man ./gatelens-ablate.1`.
#[derive(Args)]
pub struct ManPage {
    command: Option<String>,
}

impl ManPage {
    pub(super) fn run(self, mut program: Command) -> anyhow::Result<()> {
        program.build();
        let page_of = match &self.command {
            None => program,
            Some(name) => program
                .find_subcommand(name)
                .with_context(|| format!("there is no command {name}; gatelens --help lists them"))?
                .clone(),
        };
        let mut page = Vec::new();
        Man::new(page_of)
            .source(concat!("gatelens ", env!("CARGO_PKG_VERSION")))
            .render(&mut page)?;
        out!("{}", String::from_utf8(page)?);
        Ok(())
    }
}
