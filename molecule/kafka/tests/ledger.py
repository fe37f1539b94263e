"""Runs on a broker's host: `produce TOPIC COUNT` or `consume TOPIC`; prints the ids that were acknowledged, or read, as JSON."""

import json
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

BROKERS = {"bootstrap.servers": "euw-kafka-1:9092,euw-kafka-2:9092,euw-kafka-3:9092"}


def produce(topic, count):
    acknowledged, failed = [], []
    producer = Producer({**BROKERS, "acks": "all", "enable.idempotence": True, "linger.ms": 5, "message.timeout.ms": 60000})
    for number in range(count):

        def done(error, message, number=number):
            (failed if error else acknowledged).append(number if not error else str(error))

        producer.produce(topic, value=str(number), key=str(number % 50), on_delivery=done)
        producer.poll(0)
        time.sleep(0.002)
    producer.flush(60)
    return {"acknowledged": acknowledged, "failed": failed}


def consume(topic):
    consumer = Consumer({**BROKERS, "group.id": "ledger", "enable.auto.commit": False})
    partitions = [TopicPartition(topic, number) for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions]
    ends = {one.partition: consumer.get_watermark_offsets(one, timeout=10) for one in partitions}
    wanted = sum(high - low for low, high in ends.values())
    consumer.assign([TopicPartition(topic, number, low) for number, (low, high) in ends.items()])
    read, deadline = [], time.monotonic() + 60
    while len(read) < wanted and time.monotonic() < deadline:
        read += [int(message.value()) for message in consumer.consume(500, timeout=1) if not message.error()]
    return {"read": read}


print(json.dumps(produce(sys.argv[2], int(sys.argv[3])) if sys.argv[1] == "produce" else consume(sys.argv[2])))
