"""The rows of the grid, for one method and seed: what each trains, and the cells that it scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adapters_xitt.data.mixture import RANDOM, Mixture
from adapters_xitt.errors import XittError
from adapters_xitt.modules.composition import (
    LANG,
    Composition,
    Nothing,
    Part,
    names,
    parse,
    rename,
)
from adapters_xitt.modules.methods import COMPOSED, Choice, block
from adapters_xitt.study import preflight
from adapters_xitt.study.expressions import plan_parts
from adapters_xitt.study.jobs import ModuleJob
from adapters_xitt.study.module_jobs import ALONE, Placement, TrainingSpec, best_of, module_job
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.recipe import TARGET
from adapters_xitt.study.results import FAILED, NOT_APPLICABLE, Entry
from adapters_xitt.study.score_jobs import plan_calibration, plan_cell
from adapters_xitt.tasks import Task

FUSED = "all of them"  # the row of mode fuse: every intermediate and the target's own module


@dataclass(frozen=True)
class GridRow:
    """A row of the grid on one target; a cell in each language."""

    target: Task
    intermediate: str  # "" in the rows of `none`
    mode: str


class GridRows:
    """The rows of one method and seed, added to a plan."""

    def __init__(self, plan: Plan, method: Choice, learning_rate: float, seed: int) -> None:
        self.plan, self.method, self.learning_rate, self.seed = plan, method, learning_rate, seed
        self.inputs = plan.inputs
        self.intermediates = plan.recipe.mixtures()

    def add_all(self, target: Task) -> None:
        """Every row of the recipe on one target."""
        modes, job = self.plan.recipe.modes, self._target_module(target)
        if "none" in modes:
            grid_row = GridRow(target, "", "none")
            self.add_cells(grid_row, job.context if job else Nothing())
            self._add_steps_controls(target)
        for intermediate in self.intermediates:
            for mode in ("sequential", "stack", "sum"):
                if mode in modes:
                    self._add_transfer(GridRow(target, intermediate.name, mode), intermediate)
        if "fuse" in modes:
            self._add_fusions(target, job)
        if "lang" in modes:
            self._add_language_modules(target)
        for text in self.plan.recipe.compositions:
            self._add_expression(target, job, text)

    # -- a kind of row each ------------------------------------------------------------------------

    def _add_transfer(self, grid_row: GridRow, intermediate: Mixture) -> None:
        """A target's module trained after an intermediate's."""
        if not intermediate.portions and grid_row.mode == "sequential":
            grid_row = self._frozen(grid_row)
        reason = self.method.spec.refusal(grid_row.mode)
        if not intermediate.portions and grid_row.mode == "sequential":
            reason = "a random module that is trained on is `none` with another start"
        if reason:
            self.add_entries(grid_row, status=NOT_APPLICABLE, reason=reason)
            return
        job = parent = self._intermediate_module(intermediate)
        if grid_row.target.trains:
            job = self._train(
                self.inputs.training_mixture(grid_row.target),
                Placement(mode=grid_row.mode, parent=parent),
                title=f"{intermediate.name} → {grid_row.target.name} ({grid_row.mode})",
            )
        self.add_cells(grid_row, job.context)

    def _frozen(self, grid_row: GridRow) -> GridRow:
        """The row of a random module, which stays frozen, where the recipe has no mode that freezes
        a module: in the first of them that the method has."""
        modes = ("stack", "sum", "fuse")
        if any(mode in self.plan.recipe.modes for mode in modes):
            return grid_row
        known = [mode for mode in ("stack", "sum") if not self.method.spec.refusal(mode)]
        return replace(grid_row, mode=known[0]) if known else grid_row

    def _add_steps_controls(self, target: Task) -> None:
        """The control that trains the target alone for the steps of both."""
        if "steps" not in self.plan.recipe.controls:
            return
        for intermediate in filter(_trains_as_it_is, self.intermediates):
            grid_row = GridRow(target, f"{intermediate.name}'s steps", "none")
            if not target.trains:
                reason = f"{target.name} trains nothing"
                self.add_entries(grid_row, status=NOT_APPLICABLE, reason=reason)
                continue
            source = self.inputs.with_sources(intermediate)
            job = self._train(
                self.inputs.training_mixture(target),
                more_steps=self.inputs.steps(source, self.inputs.settings(source)[0]),
                title=f"{target.name} with {grid_row.intermediate}",
            )
            self.add_cells(grid_row, job.context)

    def _add_fusions(self, target: Task, target_job: ModuleJob | None) -> None:
        """A fusion over every intermediate's module and the target's own; with a random one, for
        capacity."""
        rows = {
            FUSED: list(filter(_trains_as_it_is, self.intermediates)),
            RANDOM: [mixture for mixture in self.intermediates if not mixture.portions],
        }
        for name, intermediates in rows.items():
            if not intermediates:
                continue
            grid_row = GridRow(target, name, "fuse")
            reason = self.method.spec.refusal("fuse")
            if target_job is None:
                reason = f"{target.name} trains nothing, and a fusion must be trained"
            if reason or target_job is None:
                self.add_entries(grid_row, status=NOT_APPLICABLE, reason=reason)
                continue
            # An intermediate may be the target's own module, as MNLI is XNLI's: it counts once.
            jobs = [*map(self._intermediate_module, intermediates), target_job]
            parts = {job.key: job for job in jobs}
            if len(parts) == 1:
                reason = (
                    f"{intermediates[0].name} is {target.name}'s own module; there is no other to"
                    " fuse it with"
                )
                self.add_entries(grid_row, status=NOT_APPLICABLE, reason=reason)
                continue
            fusion = self._train(
                self.inputs.training_mixture(target),
                Placement(mode="fuse", parts=tuple(parts.values())),
                title=f"{name} → {target.name} (fuse)",
            )
            self.add_cells(grid_row, fusion.context)

    def _add_language_modules(self, target: Task) -> None:
        """The target's module above the language module of its training language, which each test
        language swaps for its own (MAD-X, Pfeiffer et al. 2020)."""
        grid_row = GridRow(target, "", "lang")
        reason = self.method.spec.refusal("lang")
        if not target.trains:
            reason = f"{target.name} reads two languages at once, and a module is of one"
        if reason:
            self.add_entries(grid_row, status=NOT_APPLICABLE, reason=reason)
            return
        mixture = self.inputs.training_mixture(target)
        home = mixture.portions[0].languages[0]
        modules = self._language_modules(grid_row, home)
        parent = modules[home]
        job = self._train(
            mixture,
            Placement(mode=block(self.method), parent=parent),
            title=f"{parent.mixture.name} → {target.name} (lang)",
        )
        for language in self.plan.recipe.test_languages(target):
            if language in modules:
                swapped = swap(job.context, {parent.key: modules[language].key})
                self.add_cells(grid_row, swapped, language=language, calibrated=job.context)

    def _add_expression(self, target: Task, target_job: ModuleJob | None, text: str) -> None:
        """A row that the recipe writes as an expression over intermediates and the target's own
        module; where `$lang` stands in it, one expression for each language."""
        grid_row, expression = GridRow(target, text, COMPOSED), parse(text)
        language_modules: Mapping[str, ModuleJob | None] = {"": None}
        if LANG in names(expression):
            language_modules = self._language_modules(grid_row, None)
        for language, module in language_modules.items():
            try:
                composition = self._composition(expression, target, target_job, module)
                self.plan.setup(composition)
            except XittError as error:
                reason = self.plan.called(str(error).splitlines()[0])
                self.add_entries(
                    grid_row, language=language or None, status=NOT_APPLICABLE, reason=reason
                )
                continue
            self.add_cells(grid_row, composition, language=language or None)

    def _composition(
        self,
        expression: Composition,
        target: Task,
        target_job: ModuleJob | None,
        language_module: ModuleJob | None,
    ) -> Composition:
        """A recipe's expression over modules of the plan, everything in it planned."""
        intermediates = {mixture.name: mixture for mixture in self.intermediates}

        def of_word(word: str) -> Composition:
            if word == TARGET:
                return target_job.context if target_job else Nothing()
            if word in self.plan.named:
                job = self.plan.named[word]
                # alone it brings the parts that it was trained above, as everywhere
                return job.context if expression == Part(word) else Part(job.key)
            if word == LANG and language_module is not None:
                return language_module.context
            return self._intermediate_module(intermediates[word]).context

        if target_job is None and names(expression) == (TARGET,):
            raise XittError(f"{target.name} trains nothing")
        mixture = self.inputs.training_mixture(target) if target_job else None
        return plan_parts(self.plan, rename(expression, of_word), self.seed, target=mixture)

    # -- modules -----------------------------------------------------------------------------------

    def _target_module(self, target: Task) -> ModuleJob | None:
        """The module trained on a target alone; None where the target trains nothing."""
        if not target.trains:
            return None
        return self._train(self.inputs.training_mixture(target), title=target.name)

    def _intermediate_module(self, intermediate: Mixture) -> ModuleJob:
        """The module trained on an intermediate."""
        return self._train(self.inputs.with_sources(intermediate), title=intermediate.name)

    def _language_modules(self, grid_row: GridRow, home: str | None) -> dict[str, ModuleJob]:
        """The module of each language that a row's target is tested in, and of `home`; a language
        without text is not applicable in that row, `home` without text a mistake."""
        recipe, modules = self.plan.recipe, {}
        for language in dict.fromkeys(
            [*([home] if home else []), *recipe.test_languages(grid_row.target)]
        ):
            name, portion = recipe.language_modules, recipe.language_portion(language)
            mixture = Mixture(f"{name}@{language}", (portion,))
            try:
                preflight.require_data(self.plan, [mixture], [])
            except XittError:
                if language == home:
                    raise
                reason = f"no text of {name} in {language}"
                self.add_entries(grid_row, language=language, status=NOT_APPLICABLE, reason=reason)
                continue
            modules[language] = self._train(mixture, title=mixture.name)
        return modules

    def _train(
        self, mixture: Mixture, placement: Placement = ALONE, *, title: str, more_steps: int = 0
    ) -> ModuleJob:
        """The job that trains a mixture in its place. With a sweep, the best of several."""
        training = TrainingSpec(
            mixture=mixture,
            method=self.method,
            learning_rate=self.learning_rate,
            seed=self.seed,
            more_steps=more_steps,
        )
        factors = (self.plan.recipe.sweep if mixture.portions else None) or [1.0]
        candidates = [
            module_job(self.plan, replace(training, rate_factor=factor), placement, title=title)
            for factor in factors
        ]
        return candidates[0] if len(candidates) == 1 else best_of(self.plan, candidates)

    # -- cells -------------------------------------------------------------------------------------

    def add_cells(
        self,
        grid_row: GridRow,
        composition: Composition,
        *,
        language: str | None = None,
        head: str = "",
        calibrated: Composition | None = None,
    ) -> None:
        """The cells of one row, in one language or in all; blocked where test items reached a part.
        What has no proven form has failed before anything runs. `calibrated`: what is scored on the
        selection split, where it isn't the row's own composition."""
        try:
            self.plan.setup(composition)
        except XittError as error:
            reason = self.plan.called(str(error).splitlines()[0])
            self.add_entries(grid_row, language=language, status=FAILED, reason=reason)
            return
        for code in [language] if language else self.plan.recipe.test_languages(grid_row.target):
            entry, job = plan_cell(
                self.plan, grid_row.target, code, composition, self.seed, head=head
            )
            if job is not None:
                self.plan.score.setdefault(job.cell.key, job)
                entry |= self._calibration(grid_row, calibrated or composition, head)
            self.add_entries(grid_row, language=code, **entry)

    def _calibration(
        self, grid_row: GridRow, composition: Composition, head: str
    ) -> dict[str, str]:
        """The field of an entry that names the cell on its target's selection split, which is
        planned; none where the recipe asks for no calibration or the target trains nothing."""
        if not (self.plan.recipe.calibration and grid_row.target.trains):
            return {}
        job = plan_calibration(self.plan, grid_row.target, composition, self.seed, head=head)
        self.plan.score.setdefault(job.cell.key, job)
        return {"calibration_key": job.cell.key}

    def add_entries(self, grid_row: GridRow, *, language: str | None = None, **fields: Any) -> None:
        """Entries of the grid, in one language or in all."""
        for code in [language] if language else self.plan.recipe.test_languages(grid_row.target):
            self.plan.entries.append(
                Entry(
                    method=self.method.label,
                    intermediate=grid_row.intermediate,
                    mode=grid_row.mode,
                    target=grid_row.target.name,
                    language=code,
                    seed=self.seed,
                    **fields,
                )
            )


def swap(composition: Composition, keys: Mapping[str, str]) -> Composition:
    """A composition with modules replaced by others."""
    return rename(composition, lambda key: Part(keys.get(key, key)))


def _trains_as_it_is(mixture: Mixture) -> bool:
    """Whether a mixture trains a module, and no control of it."""
    return bool(mixture.portions) and not any(part.variant for part in mixture.portions)
