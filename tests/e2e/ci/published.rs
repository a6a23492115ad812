//! The tool as strangers get it: from its packages, from a clone, and by what the documents say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rrtest_tests::Harness;
use rrtest_tests::project::Project;
use rrtest_tests::tool::{self, Run, Tool};

use crate::{Test, Tests, tests};

pub(crate) const TESTS: &[Test] = tests![documents_name_the_repository, their_links_lead_somewhere];

pub(crate) fn add_slow(tests: &mut Tests) {
    tests.add("slow::published_packages".to_owned(), packages);
    tests.add("slow::published_git".to_owned(), git);
}

/// What is published, those first that others need.
const PACKAGES: &[&str] = &["rrtest-preload", "rrtest-engine", "cargo-rrtest"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository").to_owned()
}

fn cargo(dir: &Path, args: &[&str]) -> Command {
    let mut cargo = Command::new(tool::cargo());
    tool::clean(&mut cargo);
    cargo.args(args).current_dir(dir);
    cargo
}

/// Where both ways of installing it build: nearly all that they compile is the same.
fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("published")
}

/// Where the project lives, as the workspace's manifest says.
fn repository() -> String {
    let manifest: toml::Table =
        fs::read_to_string(root().join("Cargo.toml")).expect("a manifest").parse().expect("toml");
    manifest["workspace"]["package"]["repository"].as_str().expect("an address").to_owned()
}

/// The documents: those in `docs`, and these beside it.
fn documents(beside: &[&str]) -> Vec<PathBuf> {
    let pages = fs::read_dir(root().join("docs")).expect("docs").map(|entry| entry.expect("a page").path());
    let pages = pages.filter(|page| page.extension().is_some_and(|extension| extension == "md"));
    pages.chain(beside.iter().map(|name| root().join(name))).collect()
}

fn documents_name_the_repository(_: &Harness) {
    let repository = repository();
    let name = repository.strip_prefix("https://github.com/").expect("on GitHub");
    let version = env!("CARGO_PKG_VERSION");
    let mut named = 0;
    for page in documents(&["README.md"]) {
        let text = fs::read_to_string(&page).expect("a text");
        for (at, _) in text.match_indices("/releases/download/") {
            let line = &text[text[..at].rfind('\n').map_or(0, |at| at + 1)..];
            let line = line.lines().next().unwrap_or_default();
            assert!(
                line.contains(&format!("{repository}/releases/download/v{version}/")),
                "{}: {line}",
                page.display()
            );
            named += 1;
        }
        for line in text.lines().filter(|line| line.contains("uses: ") && line.contains("rrtest@")) {
            assert!(line.contains(&format!("uses: {name}@v{version}")), "{}: {line}", page.display());
            named += 1;
        }
    }
    assert!(named >= 2, "{named}");
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, '-' | '_')).collect()
}

fn their_links_lead_somewhere(_: &Harness) {
    let here = format!("{}/blob/main/", repository());
    let mut followed = 0;
    for page in documents(&["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"]) {
        let text = fs::read_to_string(&page).expect("a text");
        let inline = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
        // `[text][label]`, with the label's link on a line of its own.
        let definitions = text.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
        let definitions: Vec<_> = definitions.filter(|(label, _)| !label.contains(']')).collect();
        let labels: Vec<&str> = definitions.iter().map(|(label, _)| *label).collect();
        let used = text.split("][").skip(1).filter_map(|rest| rest.split_once(']')).map(|(label, _)| label);
        used.for_each(|label| assert!(labels.contains(&label), "{}: {label}", page.display()));
        for link in inline.chain(definitions.into_iter().map(|(_, link)| link)) {
            let (link, base) = match link.strip_prefix(&here) {
                Some(link) => (link, root()),
                None if link.contains("://") => continue,
                // It is shown on crates.io, too, which knows no other files.
                None => {
                    assert!(!page.ends_with("README.md"), "{link}: not below {here}");
                    (link, page.parent().expect("a directory").to_owned())
                }
            };
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { base.join(path) };
            let there = fs::read_to_string(&target);
            let there = there.unwrap_or_else(|error| panic!("{}: {link}: {error}", page.display()));
            let mut headings = there.lines().filter_map(|line| line.strip_prefix('#'));
            let is_there = headings.any(|line| anchor(line.trim_start_matches('#')) == heading);
            assert!(heading.is_empty() || is_there, "{}: {link}: no such heading", page.display());
            followed += 1;
        }
    }
    assert!(followed >= 100, "{followed}");
}

/// Waits for an installation, however long the machine takes to compile it.
fn installed(install: &mut Command) {
    let output = install.output().expect("cargo");
    assert!(output.status.success(), "{install:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Finds a failure with an installed tool, and replays it.
fn works(world: &Harness, program: PathBuf) {
    let there = Harness::with(Tool { path: program }, world.dir().path().parent().expect("a place"));
    let project = Project::of_test(&there, "#[test] fn bad() { panic!() }");
    let report = project.report(&there, &["--until-fail"], 101);
    assert_eq!(report.traces().len(), 1);
    let _replayed = Run::of(&mut project.rrtest(&there, &["replay"])).expect(0);
}

/// The packages as they would be published, unpacked where nothing else is.
fn packages(world: &Harness) {
    // Not below the repository, whose workspace cargo would find.
    let dir = tempfile::tempdir().expect("a directory");
    let mut package = cargo(&root(), &["package", "--allow-dirty", "--no-verify", "--locked"]);
    for name in PACKAGES {
        package.args(["-p", name]);
    }
    let _packed = Run::of(package.arg("--target-dir").arg(dir.path().join("packed"))).expect(0);
    let version = env!("CARGO_PKG_VERSION");
    let mut config = String::from("[patch.crates-io]\n");
    for name in PACKAGES {
        let file = dir.path().join(format!("packed/package/{name}-{version}.crate"));
        let mut tar = Command::new("tar");
        let _unpacked = Run::of(tar.arg("-xzf").arg(file).current_dir(dir.path())).expect(0);
        for licence in ["LICENSE-MIT", "LICENSE-APACHE", "README.md"] {
            assert!(
                dir.path().join(format!("{name}-{version}/{licence}")).is_file(),
                "{name} has no {licence}"
            );
        }
        config.push_str(&format!(
            "{name} = {{ path = '{}' }}\n",
            dir.path().join(format!("{name}-{version}")).display()
        ));
    }
    fs::write(dir.path().join("config.toml"), config).expect("a file");
    let place = dir.path().join(format!("cargo-rrtest-{version}"));
    let mut install = cargo(&place, &["install", "--path", ".", "--debug", "--root", "installed"]);
    install.arg("--config").arg(dir.path().join("config.toml")).arg("--target-dir").arg(built());
    installed(&mut install);
    works(world, place.join("installed/bin/cargo-rrtest"));
}

/// `cargo install --git`, of a clone.
fn git(world: &Harness) {
    let dir = tempfile::tempdir().expect("a directory");
    let clone = dir.path().join("clone");
    let mut git = Command::new("git");
    let _cloned = Run::of(git.args(["clone", "--quiet"]).arg(root()).arg(&clone)).expect(0);
    let url = format!("file://{}", clone.display().to_string().replace(' ', "%20"));
    let mut install = cargo(dir.path(), &["install", "--locked", "--debug", "--git", &url, "cargo-rrtest"]);
    install.arg("--root").arg(dir.path().join("installed")).arg("--target-dir").arg(built());
    installed(&mut install);
    works(world, dir.path().join("installed/bin/cargo-rrtest"));
}
