import pytest
import torch
import torch.nn.functional as F
from support.tiny_segmenters import batch, losses, segmentor
from torch import nn

from clipes_core.errors import ShapeError
from clipes_core.segmentation import MultiScaleEncoderDecoder, register_confidence_hooks

SCALES = ("1.0", "0.75", "0.5", "max")


def multi_scale(name: str) -> MultiScaleEncoderDecoder:
    model = segmentor(name, "MultiScaleEncoderDecoder")
    register_confidence_hooks(model)
    return model


@pytest.mark.parametrize(
    ("name", "heads"), [("deeplabv2", ["decode", "aux"]), ("deeplabv3plus", ["decode", "aux_0", "aux_1"])]
)
def test_confidence_reaches_every_scale_of_every_head(name, heads):
    model = multi_scale(name)

    all_sure = losses(model, batch(255, 255))
    one_sure = losses(model, batch(255, 0))

    assert set(all_sure) == {f"{head}_{scale}.loss_cgl" for head in heads for scale in SCALES}
    assert all(all_sure[each] != pytest.approx(one_sure[each], rel=1e-4) for each in all_sure)


def nearest(labels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Return the labels at the centres of the pixels of the smaller map."""
    rows = ((torch.arange(height) + 0.5) * labels.shape[0] / height).long()
    columns = ((torch.arange(width) + 0.5) * labels.shape[1] / width).long()
    return labels[rows][:, columns]


def test_the_loss_is_four_cross_entropies_on_reduced_labels():
    model = multi_scale("deeplabv2").eval()  # in eval mode, batch norm has the same statistics at every scale
    data = batch(255, 255)
    given = model.data_preprocessor(data, training=True)
    labels = [sample.gt_sem_seg.data[0] for sample in given["data_samples"]]
    logits = []
    for scale in (1, 0.75, 0.5):
        photos = F.interpolate(given["inputs"], scale_factor=scale, mode="bilinear")
        logits.append(model.decode_head(model.backbone(photos)))
    upscaled = [F.interpolate(each, size=logits[0].shape[2:], mode="bilinear") for each in logits]
    logits.append(torch.maximum(torch.maximum(upscaled[0], upscaled[1]), upscaled[2]))

    found = losses(model, data)

    for scale, each in zip(SCALES, logits, strict=True):
        reduced = torch.stack([nearest(one, *each.shape[2:]) for one in labels])
        assert found[f"decode_{scale}.loss_cgl"] == pytest.approx(F.cross_entropy(each, reduced).item(), rel=1e-5)


def test_predictions_equal_those_of_an_encoder_decoder():
    model = multi_scale("deeplabv2").eval()
    plain = segmentor("deeplabv2").eval()
    plain.load_state_dict(model.state_dict())
    photo = torch.randn(1, 3, 33, 41)

    torch.testing.assert_close(model(photo), plain(photo))


def test_refuses_heads_that_return_more_than_logits():
    model = multi_scale("deeplabv2")
    model.decode_head = TwoMaps()

    with pytest.raises(ShapeError, match="TwoMaps returns tuple: use EncoderDecoder"):
        losses(model, batch(255, 255))


class TwoMaps(nn.Module):
    def forward(self, features):
        return features[0], features[1]
