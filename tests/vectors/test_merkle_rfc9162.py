"""The Merkle tree of RFC 9162 §2.1 against the reference tree of Certificate Transparency.

Inputs, roots and paths are those of `cpp/merkletree/merkle_tree_test.cc` of google/certificate-transparency,
made there by a reference implementation of its own; many CT programs test with the same. To regenerate: RFC
9162 §2.1.1 and §2.1.3.1 on the inputs, with any SHA-256.
"""

from __future__ import annotations

import hashlib

import pytest

from ftc_core.domain.merkle import EMPTY_ROOT, Subtree, TreeHash, includes, leaf_hash, node_hash

INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""Of the trees over the first, the first two, … inputs."""
PATHS = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
"""Leaf (from 0), size of the tree, and its proof."""

LEAVES = [leaf_hash(data) for data in INPUTS]


def test_an_empty_tree_has_the_hash_of_nothing() -> None:
    assert TreeHash().root() == Subtree([]).root == EMPTY_ROOT == hashlib.sha256(b"").digest()


def test_leaves_and_nodes_are_hashed_apart() -> None:
    assert leaf_hash(b"ab") == hashlib.sha256(b"\x00ab").digest()
    assert node_hash(b"a", b"b") == hashlib.sha256(b"\x01ab").digest()


def test_each_reference_tree_has_its_root() -> None:
    tree = TreeHash()
    for size, (leaf, root) in enumerate(zip(LEAVES, ROOTS, strict=True), start=1):
        tree.add(leaf)
        assert (tree.size, tree.root().hex()) == (size, root)
        assert Subtree(LEAVES[:size]).root.hex() == root


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_each_reference_path_is_made_and_verified(index: int, size: int, path: list[str]) -> None:
    assert [node.hex() for node in Subtree(LEAVES[:size]).path(index)] == path
    root = bytes.fromhex(ROOTS[size - 1])
    assert includes(root, size, index, LEAVES[index], [bytes.fromhex(node) for node in path])
