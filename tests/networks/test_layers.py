from __future__ import annotations

import pytest
import torchvision
from torch import nn

from featx.errors import LayerError, ModelError
from featx.networks.configs import list_layers
from featx.networks.layers import LayerTable
from featx.networks.tracing import record

timm = pytest.importorskip("timm")


def nodes(model: str, *aliases: str) -> list[str]:
    table = list_layers(model)
    return [table.find(alias).node for alias in aliases]


def test_alexnet_is_numbered_as_in_its_paper() -> None:
    names = nodes("alexnet", "conv1", "pool1", "pool2", "conv5", "relu_conv5", "pool5")
    numbers = [0, 2, 5, 10, 11, 12]
    assert names == [f"features.{number}" for number in numbers]


def test_alexnet_fully_connected_layers_begin_at_6() -> None:
    names = nodes("alexnet", "fc6", "relu_fc6", "fc7", "relu_fc7", "fc8")
    assert names == [f"classifier.{number}" for number in (1, 2, 4, 5, 6)]


def test_vgg16_is_numbered_by_stage() -> None:
    names = nodes("vgg16", "conv1_1", "conv1_2", "conv5_3", "relu_conv5_3", "pool5")
    assert names == [f"features.{number}" for number in (0, 2, 28, 29, 30)]
    assert nodes("vgg16", "fc6", "fc8") == ["classifier.0", "classifier.6"]


def test_vgg_with_batch_norm_has_the_rectifier_after_it() -> None:
    assert nodes("vgg16_bn", "conv1_1", "relu_conv1_1") == ["features.0", "features.2"]


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        ("squeezenet1_0", [3, 4, 5, 7, 8, 9, 10, 12]),
        ("squeezenet1_1", [3, 4, 6, 7, 9, 10, 11, 12]),
    ],
)
def test_fire_modules_are_numbered_2_to_9_as_in_their_paper(model: str, numbers: list[int]) -> None:
    names = nodes(model, *(f"fire{i}" for i in range(2, 10)))
    assert names == [f"features.{number}" for number in numbers]
    with pytest.raises(LayerError):
        list_layers(model).find("fire1")


def test_squeezenet_pools_are_numbered_by_execution() -> None:
    names = nodes("squeezenet1_0", "pool1", "pool2", "pool3")
    assert names == [f"features.{number}" for number in (2, 6, 11)]


@pytest.mark.parametrize(
    ("model", "n_blocks", "last"),
    [
        ("convnext_atto", 12, "stages.3.blocks.1"),
        ("swinv2_tiny_window8_256", 12, "layers.3.blocks.1"),
        ("davit_tiny", 12, "stages.3.blocks.0.1"),
        ("nest_tiny", 12, "levels.2.transformer_encoder.7"),
        ("pit_ti_224", 12, "transformers.2.blocks.3"),
        ("pvt_v2_b0", 8, "stages.3.blocks.1"),
        ("twins_pcpvt_small", 16, "blocks.3.2"),
        ("coat_lite_tiny", 8, "serial_blocks4.1"),
        ("tnt_b_patch16_224", 12, "blocks.11.add_4"),
        ("crossvit_tiny_240", 3, "blocks.2"),
    ],
)
def test_blocks_are_those_of_the_paper(model: str, n_blocks: int, last: str) -> None:
    table = list_layers(f"timm/{model}")
    assert last in table.recording.nodes[table.find(f"block{n_blocks}").index].names
    with pytest.raises(LayerError):
        table.find(f"block{n_blocks + 1}")


def test_a_stage_that_holds_blocks_is_none() -> None:
    table = list_layers("timm/convnext_atto")
    assert table.find("stage4") == table.find("block12") == table.find("stages.3")


def test_resnet_containers_are_stages_and_blocks() -> None:
    table = list_layers("resnet50")
    assert [table.find(f"stage{i}").shape[0] for i in (1, 2, 3, 4)] == [256, 512, 1024, 2048]
    assert table.find("block16") == table.find("stage4") == table.find("layer4")


@pytest.mark.parametrize(
    ("model", "node"),
    [
        ("alexnet", "classifier.5"),
        ("vgg16", "classifier.4"),
        ("squeezenet1_0", "features.12"),
        ("resnet50", "flatten"),
        ("densenet121", "flatten"),
        ("efficientnet_b0", "flatten"),
        ("vit_b_16", "getitem"),
        ("featxnet", "relu_fc7"),
    ],
)
def test_penultimate_is_the_input_of_the_last_layer_with_weights(model: str, node: str) -> None:
    assert nodes(model, "penultimate", "-1") == [node, node]


def test_minus_two_is_the_alias_before_the_penultimate() -> None:
    assert [list_layers("alexnet").find(n).alias for n in ("-2", "-3", "-20")[:2]] == [
        "fc7",
        "relu_fc6",
    ]


def test_logits_is_what_the_network_returns() -> None:
    assert nodes("alexnet", "logits") == ["classifier.6"]
    assert nodes("squeezenet1_0", "logits") == ["flatten"]


def test_featxnet_keeps_its_own_names() -> None:
    table = list_layers("featxnet")
    for name in ("conv1", "relu_conv1", "pool1", "pool2", "pool5", "fc6", "relu_fc7", "fc8"):
        assert (table.find(name).node, table.find(name).alias) == (name, name)
    assert not table.find("res2.body.reduce").alias


@pytest.mark.parametrize(
    ("model", "word"), [("googlenet", "conv"), ("shufflenet_v2_x1_0", "stage")]
)
def test_a_word_that_the_network_uses_itself_is_left_to_it(model: str, word: str) -> None:
    table = list_layers(model)
    aliases = [layer.alias for layer in table if layer.alias.startswith(word)]
    assert all(table.find(alias).node.startswith(alias) for alias in aliases)


def test_wrong_name_is_met_with_the_nearest() -> None:
    with pytest.raises(LayerError, match="Did you mean 'pool1'") as caught:
        list_layers("alexnet").find("pol1")
    assert (caught.value.layer, caught.value.model) == ("pol1", "alexnet")


def test_a_name_like_nothing_is_met_with_the_command() -> None:
    with pytest.raises(LayerError, match=r"^Layer 'qqq' is not in alexnet. See `featx layers alex"):
        list_layers("alexnet").find("qqq")


def test_further_back_than_the_first_layer_is_an_error() -> None:
    with pytest.raises(LayerError):
        list_layers("alexnet").find("-99")


@pytest.mark.parametrize("model", ["alexnet", "resnet50", "vit_b_16", "swin_t", "googlenet"])
def test_every_name_leads_to_one_layer(model: str) -> None:
    table = list_layers(model)
    names = [layer.node for layer in table] + [layer.alias for layer in table if layer.alias]
    assert [table.find(layer.node) for layer in table] == list(table)
    assert len(set(names)) == len(set(zip(names, map(table.find, names), strict=True)))


def test_containers_and_their_last_module_are_one_layer() -> None:
    table = list_layers("resnet18")
    assert table.find("layer1") == table.find("layer1.1") == table.find("layer1.1.relu_1")


@pytest.mark.parametrize(
    ("model", "giga"), [("alexnet", 0.714), ("resnet50", 4.089), ("vgg16", 15.47)]
)
def test_cost_is_what_torchvision_publishes(model: str, giga: float) -> None:
    assert list_layers(model).macs / 1e9 == pytest.approx(giga, abs=0.01)


def test_cost_only_grows() -> None:
    macs = [layer.macs for layer in list_layers("resnet18")]
    assert macs == sorted(macs)


def test_shapes_follow_the_size_of_the_images() -> None:
    layer = list_layers("alexnet", size=128).find("pool1")
    assert (layer.shape, layer.n_features, layer.n_pooled) == ((64, 15, 15), 14400, 64)


def test_table_is_a_sequence() -> None:
    table = list_layers("alexnet")
    assert isinstance(table, LayerTable)
    assert [layer.index for layer in table] == list(range(len(table)))


def without_classifier() -> nn.Module:
    network = torchvision.models.resnet18()
    network.fc = nn.Identity()
    return network.eval()


@pytest.mark.parametrize(
    ("network", "width"),
    [
        (without_classifier(), 512),
        (torchvision.models.resnet18().layer1.eval(), 64 * 16 * 16),
        (torchvision.models.alexnet().features.eval(), 256),
        (timm.create_model("resnet10t", num_classes=0), 512),
        (timm.create_model("convnext_atto", num_classes=0), 320),
        (timm.create_model("mobilenetv3_small_050", num_classes=0), 1024),
        (timm.create_model("test_vit", num_classes=0), 64),
    ],
)
def test_penultimate_of_a_network_without_classifier_is_its_output(
    network: nn.Module, width: int
) -> None:
    first = next(network.parameters())
    if first.dim() == 4 and first.shape[1] != 3:
        network = nn.Sequential(nn.Conv2d(3, first.shape[1], 1), network).eval()
    size = 160 if isinstance(network, timm.models.VisionTransformer) else 64
    size = 16 if isinstance(network, nn.Sequential) and len(network) == 2 else size
    table = LayerTable("it", record(network.eval(), (size, size)))
    assert table.find("-1") == table.find("output") == table.find("penultimate")
    assert table.find("-1").n_features == width
    with pytest.raises(LayerError):
        table.find("logits")


@pytest.mark.parametrize("name", ["resnet10t", "test_vit", "deit_tiny_distilled_patch16_224"])
def test_penultimate_goes_into_the_classifier_that_a_network_declares(name: str) -> None:
    network = timm.create_model(name, num_classes=7).eval()
    size = network.pretrained_cfg["input_size"][1]
    table = LayerTable("it", record(network, (size, size)))
    assert table.find("-1").shape == (network.num_features,)
    assert table.find("logits").shape == table.find("output").shape == (7,)


def test_last_blocks_are_several_layers_in_order() -> None:
    table = list_layers("timm/vit_tiny_patch16_224")
    assert [layer.alias for layer in table.parts("last3")] == ["block10", "block11", "block12"]
    assert table.parts("block2") == [table.find("block2")]


@pytest.mark.parametrize(
    ("model", "name", "reason"),
    [
        ("resnet18", "last2", "resnet18 has blocks of feature maps. Choose from"),
        ("alexnet", "last2", "alexnet has no blocks"),
        ("vit_b_16", "last13", "needs 13 transformer blocks.* vit_b_16 has 12 blocks"),
    ],
)
def test_last_blocks_that_are_none_are_refused(model: str, name: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        list_layers(model).parts(name)


@pytest.mark.parametrize(
    ("model", "norm"),
    [
        ("vit_b_16", "encoder.ln"),
        ("timm/vit_tiny_patch16_224", "norm"),
        ("timm/beit_base_patch16_224", None),
    ],
)
def test_the_final_norm_is_the_one_that_takes_tokens(model: str, norm: str | None) -> None:
    final_norm = list_layers(model).final_norm()
    assert (None if final_norm is None else final_norm.name) == norm
