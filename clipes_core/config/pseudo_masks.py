"""The settings of the pseudo masks: CLIP, prompts, CAMs, CRF and confidence. The defaults follow CLIP-ES on VOC.

Numbers of sections, equations and tables refer to the CLIP-ES paper (CVPR 2023, arXiv 2212.09506).
"""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from typing_extensions import override

from clipes_core.config.choice import NameIn
from clipes_core.config.crf import DenseCrfConfig
from clipes_core.config.section import Section
from clipes_core.crf_backends import CRF_BACKENDS
from clipes_core.refinements import REFINEMENTS

AUTO_TEMPLATE = "auto"  # if prompts.template has this value, clipes ranks the candidate templates and uses the best one


class ClipConfig(Section):
    """The frozen CLIP network with which clipes computes CAMs."""

    model: str = Field(
        "ViT-B-16-quickgelu",
        description="clipes-demo, or the name of an OpenCLIP model with a ViT or a ResNet. CLIP-ES uses ViT-B/16 (sec. "
        "4.1).",
    )
    pretrained: str = Field(
        "openai",
        description="Weights of the model: clipes-demo, an OpenCLIP tag, the path or URI of a file, or random:SEED. "
        "random:SEED gives random weights, for example to test a run without a download.",
    )
    tokenizer: str = Field(
        "auto",
        description="Tokenizer of models whose tokenizer is not CLIP's own, such as SigLIP: a folder with the files "
        "tokenizer.json and tokenizer_config.json. auto: the files that OpenCLIP names, from the Hugging Face hub.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "fast"] = Field(
        "auto",
        description="Numerical precision of CLIP's image network. auto: fp16 on a CUDA GPU, otherwise fp32. fast: "
        "bfloat16 in all matrix products, which changes about 1 % of the pixels of the masks. bf16: three bfloat16 "
        "products for each product of the MLPs, which together are as accurate as float32.",
    )
    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|mps|cuda(:\d{1,3})?)$",
        description="Devices that run networks: cpu, mps, cuda (all CUDA GPUs) or cuda:N (one GPU). auto: all CUDA "
        "GPUs; without a CUDA GPU, mps if it is available, otherwise cpu.",
    )
    pooling: Literal["patch_mean", "cls", "attention"] = Field(
        "patch_mean",
        description="Image embedding that clipes compares with texts. patch_mean: mean of the patch tokens; cls: class "
        "token; attention: the network's own attention pooling. CLIP's ViTs have the first two. SigLIP and ResNets "
        "have only attention, which is their default.",
    )


class PromptsConfig(Section):
    """The prompts, which are the texts that describe the classes to CLIP (CLIP-ES sec. 3.2)."""

    template: str | tuple[str, ...] = Field(
        "a clean origami {}.",
        description="One or more prompt templates. In a template, {} stands for the words of a class. auto: clipes "
        "ranks its candidate templates by sharpness (CLIP-ES sec. 3.2) and uses the best one.",
    )
    fusion: Literal["sentence", "feature", "cam"] = Field(
        "sentence",
        description="How clipes combines the synonyms of a class (CLIP-ES sec. 3.2). sentence: one prompt contains "
        "all synonyms; feature: clipes averages the text features of the synonyms; cam: clipes averages the CAMs of "
        "the synonyms.",
    )
    background: bool = Field(
        True,
        description="If true, the vocabulary's background words compete with the classes in the softmax (CLIP-ES sec. "
        "3.1).",
    )
    leave_out: tuple[str, ...] = Field(
        (),
        description="Background words that do not take part, such as [water, sea]. The vocabulary must have at least "
        "one of these words; clipes warns of the others.",
    )
    names: bool | tuple[str, ...] = Field(
        False,
        description="If true, CLIP reads the name of each class instead of its words and synonyms. If this is a list "
        "of class names, it does so only for these classes.",
    )

    @field_validator("template")
    @classmethod
    def _has_one_place_for_the_class(cls, template: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if template == AUTO_TEMPLATE:
            return template
        templates = (template,) if isinstance(template, str) else template
        if not templates:
            raise ValueError("needs at least one template")
        for text in templates:
            if text.count("{}") != 1:
                raise ValueError(f"{text!r} must contain {{}} exactly once, where the class words go")
        return template

    @property
    def templates(self) -> tuple[str, ...]:
        """Return the templates as a tuple, which is empty if `template` is `auto`."""
        if self.template == AUTO_TEMPLATE:
            return ()
        return (self.template,) if isinstance(self.template, str) else self.template


class CamConfig(Section):
    """Softmax-GradCAM (CLIP-ES eq. 1-4), and class-aware attention-based affinity (CAA, eq. 6-7)."""

    softmax: bool = Field(
        True,
        description="If true, clipes computes CAMs from the softmax probabilities of the classes (CLIP-ES eq. 3). If "
        "false, it computes them from the logits.",
    )
    refine: Annotated[str, NameIn(REFINEMENTS)] = Field(
        "caa",
        description="How clipes refines the CAMs. none: clipes does not refine them; mhsa: clipes spreads each CAM "
        "along the attention, from all patches; caa: clipes spreads each CAM along the attention, but only from the "
        "patches in boxes around high CAM values (CLIP-ES eq. 7). A ResNet has no such attention, so its default is "
        "none.",
    )
    box_threshold: float = Field(
        0.4,
        ge=0,
        lt=1,
        description="Threshold lambda. The refinement caa draws boxes around the parts of a CAM that exceed this share "
        "of the CAM's peak. CLIP-ES uses 0.4 for VOC and 0.7 for COCO (sec. 4.1).",
    )
    attention_blocks: int = Field(
        8,
        ge=1,
        le=1000,
        description="Number N of transformer blocks. clipes averages the attention of the last N blocks of the image "
        "network.",
    )
    sinkhorn_rounds: int = Field(
        3, ge=0, le=1000, description="Number of rounds of Sinkhorn normalisation (CLIP-ES eq. 6)."
    )
    power: int = Field(
        2, ge=0, le=16, description="Exponent t of the affinity matrix that refines the CAMs (CLIP-ES eq. 7)."
    )
    scales: tuple[Annotated[float, Field(gt=0, le=4)], ...] = Field(
        (1.0,),
        min_length=1,
        max_length=16,
        description="Factors by which the photo is scaled. clipes averages the CAMs of all factors. The published "
        "program of CLIP-ES uses only the factor 1.",
    )
    flip: bool = Field(
        False, description="If true, clipes averages the CAMs of the photo and the CAMs of the mirrored photo."
    )


class CrfConfig(DenseCrfConfig):
    """The dense CRF that refines the pseudo masks (CLIP-ES sec. 3.4)."""

    enabled: bool = Field(
        True,
        description="If true, a CRF refines the pseudo masks. If false, the label of each pixel is the argmax of the "
        "background score and the CAMs.",
    )
    image: Literal["rgb", "reference"] = Field(
        "rgb",
        description="Image that the CRF reads. rgb: the photo; reference: the photo in BGR minus the mean colour, "
        "wrapped to 8 bits. The CRF in the published program of CLIP-ES reads this image.",
    )
    background_power: float = Field(
        1,
        gt=0,
        le=64,
        description="Exponent p of a pixel's background score (1 - m)^p, where m is the pixel's largest CAM value.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="Where the CRF runs. cpu: in the CPU workers; cuda: in the GPU workers, on photos of one size "
        "together; auto: cuda if all GPU workers use CUDA and there are fewer than 8 CPU workers per GPU worker, "
        "otherwise cpu. The masks are the same.",
    )

    @field_validator("device")
    @classmethod
    def _suits_the_backend(cls, device: str, info: ValidationInfo) -> str:
        if device == "cuda" and "backend" in info.data and not _runs_on_devices(info.data["backend"]):
            raise ValueError(f"the backend {info.data['backend']} runs on processors only; set crf.backend to lattice")
        return device

    @property
    def runs_on_devices(self) -> bool:
        """True if the backend can run on devices such as GPUs."""
        return _runs_on_devices(self.backend)

    @override
    def key_fields(self) -> dict[str, Any]:
        return {name: value for name, value in super().key_fields().items() if name != "device"}


def _runs_on_devices(backend: str) -> bool:
    return CRF_BACKENDS[backend].on_devices is not None


class ConfidenceConfig(Section):
    """The confidence map of a pseudo mask (CLIP-ES eq. 8)."""

    source: Literal["crf", "cam"] = Field(
        "crf",
        description="Source of the confidence of a pixel. crf: the pixel's largest CRF posterior or, "
        "without a CRF, the pixel's largest score; cam: the pixel's CAM values, by CLIP-ES eq. (8).",
    )
