"""Listening to the engine: subclass StreamingListener and pass it to StreamingContext.addStreamingListener.

What the methods receive answers like Spark's own objects: `batchCompleted.batchInfo().processingDelay()`. A time that is not known yet is -1.
"""

__all__ = ["StreamingListener"]


class StreamingListener:
    """Override what you want to hear of."""

    def onStreamingStarted(self, streamingStarted):
        """Called when the streaming has been started."""

    def onReceiverStarted(self, receiverStarted):
        """Called when a receiver has been started."""

    def onReceiverError(self, receiverError):
        """Called when a receiver has reported an error."""

    def onReceiverStopped(self, receiverStopped):
        """Called when a receiver has been stopped."""

    def onBatchSubmitted(self, batchSubmitted):
        """Called when a batch of jobs has been submitted for processing."""

    def onBatchStarted(self, batchStarted):
        """Called when processing of a batch of jobs has started."""

    def onBatchCompleted(self, batchCompleted):
        """Called when processing of a batch of jobs has completed."""

    def onOutputOperationStarted(self, outputOperationStarted):
        """Called when processing of a job of a batch has started."""

    def onOutputOperationCompleted(self, outputOperationCompleted):
        """Called when processing of a job of a batch has completed."""


class _Answers:
    """An object whose methods give the values of a dict: `info.numRecords()`; plain attributes where Spark has a field."""

    def __init__(self, values, fields=()):
        for name, value in values.items():
            setattr(self, name, value if name in fields else (lambda value=value: value))


class _Time(_Answers):
    def __init__(self, milliseconds):
        super().__init__({"milliseconds": milliseconds})


def _operation(values):
    return _Answers({**values, "batchTime": _Time(values["batchTime"])})


def _batch(values):
    return _Answers({
        **values,
        "batchTime": _Time(values["batchTime"]),
        "streamIdToInputInfo": {key: _Answers({**info, "metadata": {"Description": info["metadataDescription"]}}) for key, info in values["streamIdToInputInfo"].items()},
        "outputOperationInfos": {key: _operation(info) for key, info in values["outputOperationInfos"].items()},
    })


def dispatch(listener, event, values):
    """Hands an event of the engine (its name and a dict) to the listener's method."""
    if event == "StreamingStarted":
        payload = _Answers(values, fields=("time",))
    elif event.startswith("Batch"):
        payload = _Answers({"batchInfo": _batch(values)})
    elif event.startswith("OutputOperation"):
        payload = _Answers({"outputOperationInfo": _operation(values)})
    else:
        payload = _Answers({"receiverInfo": _Answers(values)})
    getattr(listener, "on" + event)(payload)
