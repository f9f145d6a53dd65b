"""When training slows down and stops, and which state it leaves: on a course of losses and scores written down here."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cofactor.errors import CofactorError, CofactorWarning
from cofactor.models.base.epochs import Plan, Rate, part_of_more, run_epochs, watched


class Course:
    """A training whose losses and scores are known; an exception in the place of one is raised there."""

    def __init__(self, losses, scores=None):
        self.losses, self.scores = losses, scores
        self.state, self.rates = 0, []

    def one_epoch(self, number, rate):
        self.rates.append(rate.first)
        self.state = number + 1  # whatever happens now, vectors have moved
        if isinstance(self.losses[number], BaseException):
            raise self.losses[number]
        return self.losses[number]

    def snapshot(self):
        kept = self.state

        def bring_back():
            self.state = kept

        return bring_back

    def score(self):
        found = self.scores[self.state - 1]
        if isinstance(found, BaseException):
            raise found
        return found

    def run(self, **plan):
        plan = Plan(**{"epochs": len(self.losses), **plan})
        score = None if self.scores is None else self.score
        return run_epochs("Test", plan, self.one_epoch, self.snapshot, score, progress=False)


def test_without_scores_the_last_state_is_left_and_all_is_told():
    training = Course([3.0, 2.0, 2.5])
    course = training.run()
    assert training.state == course.kept == 3
    assert not course.interrupted
    assert course.epochs.rows() == [(1, 3.0, None, False), (2, 2.0, None, False), (3, 2.5, None, True)]
    assert course.rates == [(1.0, 1.0)] * 3


def test_the_best_scored_state_is_left():
    training = Course([5.0, 4.0, 3.0, 2.0], [0.1, 0.3, 0.2, 0.2])
    course = training.run()
    assert training.state == course.kept == 2
    assert course.epochs["score"].to_list() == [0.1, 0.3, 0.2, 0.2]


def test_of_equal_scores_the_earlier_is_kept():
    training = Course([3.0, 2.0], [0.2, 0.2])
    assert training.run().kept == training.state == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 6))
def test_training_stops_once_patience_is_out(scores, patience):
    training = Course([2.0, *[1.0] * (len(scores) - 1)], scores)
    course = training.run(patience=patience)
    n = len(course.epochs)
    assert training.state == course.kept == 1 + int(np.argmax(scores[:n]))
    assert n == len(scores) or n == course.kept + patience
    assert n <= course.kept + patience


def test_a_plateau_halves_the_rate_after_every_second_epoch_without_a_better_score():
    training = Course([2.0] + [1.0] * 7, [0.1, 0.2, 0.1, 0.1, 0.3, 0.2, 0.2, 0.2])
    training.run(plateau=True)
    assert training.rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]


def test_a_plateau_of_the_loss_counts_where_there_are_no_scores():
    training = Course([2.0, 1.0, 1.0, 1.0, 1.0])
    training.run(plateau=True)
    assert training.rates == [1.0, 1.0, 1.0, 1.0, 0.5]


def test_training_goes_on_until_the_loss_has_begun_to_fall():
    scores = [0.2, *[0.1] * 8]
    flat = [1.0, 1.01, 0.99, 1.0, 0.985, 1.0, 1.0, 1.0, 1.0]
    training = Course(flat, scores)
    assert len(training.run(plateau=True, patience=2).epochs) == 9
    assert training.rates == [1.0] * 9
    training = Course([*flat[:5], 0.9, 0.9, 0.9, 0.9], scores)
    assert len(training.run(patience=2).epochs) == 6
    below = Course([-1.0, -1.0, -1.0, -1.5, -1.5], scores)
    assert len(below.run(patience=2).epochs) == 4


def test_training_goes_on_for_the_least_epochs():
    training = Course([2.0] + [1.0] * 8, [0.2, *[0.1] * 8])
    assert len(training.run(plateau=True, patience=2, least=6).epochs) == 6
    training = Course([2.0] + [1.0] * 8)
    training.run(plateau=True, least=6)
    assert training.rates == [1.0] * 6 + [0.5, 0.5, 0.25]


def test_a_cosine_falls_from_one_towards_zero():
    training = Course([1.0] * 4)
    course = training.run(cosine=True)
    wave = [1.0, 0.5 + np.sqrt(0.125), 0.5, 0.5 - np.sqrt(0.125), 0.0]
    assert training.rates == pytest.approx(wave[:4])
    np.testing.assert_allclose(course.rates, np.c_[wave[:4], wave[1:]], atol=1e-12)


def test_a_course_is_repeated_with_its_rates():
    training = Course([1.0] * 3)
    rates = [Rate(1.0, 0.7), Rate(0.7, 0.2), Rate(0.2, 0.1), Rate(0.1, 0.0)]
    course = training.run(rates=rates, cosine=True, plateau=True)
    assert course.rates == rates[:3]
    assert training.rates == [1.0, 0.7, 0.2]


# Ctrl-C


def test_a_stop_keeps_the_best_so_far_and_says_so():
    training = Course([3.0, 2.0, KeyboardInterrupt(), 1.0], [0.1, 0.05, 0.2, 0.3])
    with pytest.warns(CofactorWarning, match=r"Test: stopped by Ctrl-C in epoch 3 of 4; what epoch 1 left is kept"):
        course = training.run()
    assert training.state == course.kept == 1
    assert course.interrupted
    assert len(course.epochs) == 2


def test_a_stop_while_scoring_keeps_what_was_scored():
    training = Course([3.0, 2.0], [0.1, KeyboardInterrupt()])
    with pytest.warns(CofactorWarning, match="epoch 2 of 2; what epoch 1 left is kept"):
        assert training.run().kept == training.state == 1


def test_a_stop_without_scores_keeps_the_least_loss():
    training = Course([3.0, 1.0, 2.0, KeyboardInterrupt()])
    with pytest.warns(CofactorWarning, match="what epoch 2 left is kept"):
        assert training.run().kept == training.state == 2


def test_a_stop_before_anything_is_learned_is_passed_on():
    with pytest.raises(KeyboardInterrupt):
        Course([KeyboardInterrupt()]).run()


def test_a_repeated_course_is_gone_through_whole_or_not_at_all():
    with pytest.raises(KeyboardInterrupt):
        Course([3.0, KeyboardInterrupt()]).run(rates=[Rate(1.0, 1.0)] * 2)
    with pytest.raises(CofactorError, match="diverged"):
        Course([3.0, np.nan]).run(rates=[Rate(1.0, 1.0)] * 2)


def test_who_watches_sees_scores_and_may_end_it():
    seen = []

    def watch(epoch, score):
        seen.append((epoch, score))
        if epoch == 3:
            raise TimeoutError

    with watched(watch):
        Course([3.0, 2.0], [0.1, 0.2]).run()
        Course([3.0, 2.0, 1.0, 0.5]).run()  # no scores, nothing to tell
        with pytest.raises(TimeoutError):
            Course([4.0, 3.0, 2.0, 1.0], [0.1, 0.2, 0.3, 0.4]).run()
        with pytest.raises(KeyboardInterrupt):  # it ends more than this training
            Course([3.0, 2.0, KeyboardInterrupt()], [0.1, 0.05, 0.2]).run()
    assert seen == [(1, 0.1), (2, 0.2), (1, 0.1), (2, 0.2), (3, 0.3), (1, 0.1), (2, 0.05)]
    Course([3.0, 2.0], [0.1, 0.2]).run()
    assert len(seen) == 7


def test_a_part_of_more_is_not_kept_and_is_watched_as_before():
    seen = []
    with pytest.raises(KeyboardInterrupt), part_of_more():
        Course([3.0, 2.0, KeyboardInterrupt()]).run()
    with watched(lambda *told: seen.append(told)), part_of_more():
        Course([3.0], [0.1]).run()
    assert seen == [(1, 0.1)]
    with pytest.warns(CofactorWarning, match="stopped by Ctrl-C"):
        Course([3.0, 2.0, KeyboardInterrupt()]).run()


# Divergence


@pytest.mark.parametrize("loss", [np.nan, np.inf, 9.1])
def test_what_was_before_divergence_is_kept(loss):
    training = Course([3.0, 2.0, loss, 1.0])
    with pytest.warns(CofactorWarning, match=r"after epoch 3, .*what epoch 2 left is kept. Lower learning_rate"):
        course = training.run()
    assert training.state == course.kept == 2
    assert len(course.epochs) == 2


def test_a_loss_that_only_rises_is_no_divergence():
    assert Course([3.0, 8.9]).run().kept == 2


def test_losses_below_zero_may_rise():
    """As those of "bsl", whose positive is not in the sum."""
    assert Course([-0.5, -1.0, 0.4]).run().kept == 3
    with pytest.warns(CofactorWarning, match="diverged"):
        assert Course([-0.5, -1.0, 0.6]).run().kept == 2


def test_divergence_is_found_at_once_where_it_is_known_what_training_starts_from():
    assert Course([2.0, 1.0]).run(start=0.7).kept == 2
    with pytest.raises(CofactorError, match=r"the loss is 2.2 after epoch 1, training diverged"):
        Course([2.2, 1.0]).run(start=0.7)


def test_divergence_at_once_is_an_error_that_says_what_to_change():
    with pytest.raises(CofactorError, match=r"Test: the loss is nan after epoch 1.*lower learning_rate, or raise reg"):
        Course([np.nan]).run()
