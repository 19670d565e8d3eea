//! Random names, from a seed that is printed.

use heddle_core::name::{Dentry, Dtab, NameTree, Path, Prefix, Weighted};
use heddle_core::random::{Rng, Xoshiro, mix64};

/// Runs a law on many cases; the seed is in the output of a run that fails.
pub(crate) fn each_case(law: &str, mut check: impl FnMut(&mut Source)) {
    let number = |name: &str, default: u64| {
        std::env::var(name).ok().map_or(default, |text| {
            text.parse().expect("a number in the environment")
        })
    };
    let (seed, cases) = (number("HEDDLE_SEED", 1), number("HEDDLE_CASES", 2_000));
    println!("{law}: HEDDLE_SEED={seed} HEDDLE_CASES={cases}");
    for case in 0..cases {
        check(&mut Source {
            rng: Xoshiro::seeded(mix64(seed) ^ case),
        });
    }
}

/// Where random values come from.
pub(crate) struct Source {
    pub(crate) rng: Xoshiro,
}

/// Elements that delegation meets again and again.
const FEW: [&str; 6] = ["a", "b", "c", "svc", "#", "$"];

/// Pieces of the language, for texts that are almost right.
const PIECES: [&str; 28] = [
    "/", "/a", "=>", "->", "=", ">", ";", "|", "&", "(", ")", "~", "!", "$", "*", "2", "0.5", ".",
    " ", "\n", "#", "\\x", "\\x4g", "ff", "ä", "\u{a0}", "\0", "/svc/web",
];

impl Source {
    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.rng.below(n) == 0
    }

    fn element(&mut self) -> Vec<u8> {
        if self.one_in(2) {
            return FEW[self.rng.below(FEW.len())].as_bytes().to_vec();
        }
        let length = 1 + self.rng.below(30);
        let printable = self.one_in(2);
        (0..length)
            .map(|_| {
                if printable {
                    b'a' + self.rng.below(26) as u8
                } else {
                    self.rng.next_u64() as u8
                }
            })
            .collect()
    }

    /// A path of any bytes.
    pub(crate) fn path(&mut self) -> Path {
        let length = self.rng.below(5);
        Path::from_elements((0..length).map(|_| self.element())).expect("elements are not empty")
    }

    /// A path out of few elements, so that prefixes match.
    pub(crate) fn short_path(&mut self) -> Path {
        let length = 1 + self.rng.below(3);
        let elements = (0..length).map(|_| FEW[self.rng.below(4)]);
        Path::from_elements(elements.collect::<Vec<_>>()).expect("elements are not empty")
    }

    fn leaf(&mut self) -> Path {
        match self.rng.below(8) {
            0 => Path::parse("/$/inet/127.0.0.1/80").expect("it is one"),
            1 => Path::parse("/#/b/x").expect("it is one"),
            2 => Path::parse(["/#/f", "/#/p", "/$/nil", "/$/fail"][self.rng.below(4)])
                .expect("it is one"),
            _ => self.short_path(),
        }
    }

    /// A tree; `parsed`: of the kind that parsing makes, without nodes of fewer than two children.
    pub(crate) fn tree(&mut self, depth: usize, parsed: bool) -> NameTree<Path> {
        self.tree_of(depth, parsed, &mut Self::path)
    }

    fn tree_of(
        &mut self,
        depth: usize,
        parsed: bool,
        leaf: &mut impl FnMut(&mut Self) -> Path,
    ) -> NameTree<Path> {
        let kind = if depth == 0 {
            self.rng.below(7)
        } else {
            self.rng.below(11)
        };
        let children = if parsed {
            2 + self.rng.below(2)
        } else {
            self.rng.below(4)
        };
        match kind {
            0 => NameTree::Neg,
            1 if self.one_in(2) => NameTree::Fail,
            2 if self.one_in(2) => NameTree::Empty,
            1..=6 => NameTree::Leaf(leaf(self)),
            7 | 8 => NameTree::Alt(
                (0..children)
                    .map(|_| self.tree_of(depth - 1, parsed, leaf))
                    .collect(),
            ),
            _ => NameTree::Union(
                (0..children)
                    .map(|_| self.weighted(depth - 1, parsed, leaf))
                    .collect(),
            ),
        }
    }

    fn weighted(
        &mut self,
        depth: usize,
        parsed: bool,
        leaf: &mut impl FnMut(&mut Self) -> Path,
    ) -> Weighted<Path> {
        // Two decimals are what printing keeps.
        let weight = self.rng.below(2_000) as f64 / 4.0;
        Weighted {
            weight: if self.one_in(3) { 1.0 } else { weight },
            tree: self.tree_of(depth, parsed, leaf),
        }
    }

    /// A limit of lookups: mostly small, since tables that lead to each other grow exponentially with it.
    pub(crate) fn depth(&mut self) -> usize {
        let most = if self.one_in(40) { 100 } else { 6 };
        1 + self.rng.below(most)
    }

    fn prefix(&mut self) -> Prefix {
        let path = self.short_path();
        let shown: String = path
            .elements()
            .iter()
            .map(|element| {
                if self.one_in(5) {
                    "/*".to_owned()
                } else {
                    format!("/{element}")
                }
            })
            .collect();
        Prefix::parse(&shown).expect("it is one")
    }

    /// A table with trees of any paths.
    pub(crate) fn dtab(&mut self, dentries: usize) -> Dtab {
        let count = self.rng.below(dentries);
        (0..count)
            .map(|_| Dentry {
                prefix: self.prefix(),
                dst: self.tree(2, true),
            })
            .collect()
    }

    /// A table whose entries lead to each other.
    pub(crate) fn delegating(&mut self, dentries: usize) -> Dtab {
        let count = 1 + self.rng.below(dentries);
        (0..count)
            .map(|_| Dentry {
                prefix: self.prefix(),
                dst: self.tree_of(2, true, &mut Self::leaf),
            })
            .collect()
    }

    /// Text that may be anything, often close to the language.
    pub(crate) fn garbage(&mut self) -> String {
        if self.one_in(4) {
            let bytes: Vec<u8> = (0..self.rng.below(40))
                .map(|_| self.rng.next_u64() as u8)
                .collect();
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        let mut text: String = (0..self.rng.below(14))
            .map(|_| PIECES[self.rng.below(PIECES.len())])
            .collect();
        if self.one_in(3) {
            text = self.dtab(4).to_string();
            let at = self.rng.below(text.len() + 1);
            if text.is_char_boundary(at) {
                text.insert_str(at, PIECES[self.rng.below(PIECES.len())]);
            }
        }
        text
    }
}
