import { OffloadError, parseWith } from '@cni-offload/sdk'
import type { z } from 'zod'
import type { AgentBeat, HostBeat, AttachCall, AttachmentState, AttachReply, HandshakeCall, HandshakeReply, ResyncEvent } from '../api.ts'
import * as wire from '../gen/offload/v1/offload.ts'
import { MAX_MESSAGE_BYTES } from '../limits.ts'
import * as schemas from './schemas.ts'
import { attachFromWire, attachToWire, present, problemToWire, repairFromWire, repairToWire, resultFromWire, resultToWire } from './wire.ts'
import { wireEnum } from './wire-enum.ts'

/** How values of one type become bytes and, validated, values again. */
export interface Codec<T> {
  /** @throws OffloadError INVALID_NETCONF if the value can't be sent: larger than a message may be, or not JSON */
  encode(value: T): Buffer
  /** @throws OffloadError UNDECODABLE that names field, value and what was expected */
  decode(bytes: Uint8Array): T
}

/** One method of the service. */
export interface Method<Call, Reply> {
  /** Name in messages and logs. */
  readonly name: string
  /** Path of the HTTP/2 request. */
  readonly path: string
  /** What the host sends; for streams, one message of it. */
  readonly call: Codec<Call>
  /** What the agent answers; for streams, one message of it. */
  readonly reply: Codec<Reply>
}

interface MessageType<W> {
  encode(message: W): { finish(): Uint8Array }
  decode(input: Uint8Array): W
}

function codec<T, W>(
  what: string,
  type: MessageType<W>,
  schema: z.ZodType<T>,
  toWire: (value: T) => W,
  fromWire: (message: W) => unknown,
): Codec<T> {
  return {
    encode(value) {
      let bytes: Uint8Array
      try {
        bytes = type.encode(toWire(value)).finish()
      } catch (error) {
        throw OffloadError.from(error, 'INVALID_NETCONF', `${what} can't be encoded`)
      }
      if (bytes.byteLength > MAX_MESSAGE_BYTES)
        throw new OffloadError('INVALID_NETCONF', `${what} has ${bytes.byteLength} bytes, at most ${MAX_MESSAGE_BYTES} can be sent`)
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    },
    decode(bytes) {
      let message: W
      try {
        message = type.decode(bytes)
      } catch (error) {
        throw OffloadError.from(error, 'UNDECODABLE', `${what} is not the message that it should be`)
      }
      return parseWith(schema, fromWire(message), what, 'UNDECODABLE')
    },
  }
}

function empty(what: string, type: MessageType<object>): Codec<void> {
  return {
    encode: () => Buffer.from(type.encode({}).finish()),
    decode(bytes) {
      try {
        type.decode(bytes)
      } catch (error) {
        throw OffloadError.from(error, 'UNDECODABLE', `${what} is not the message that it should be`)
      }
    },
  }
}

/** A message of the host during a resync: an attachment, or that there are no more. */
export type ResyncMessage = AttachCall | 'complete'

const { AttachmentPhase, ResyncAction } = wire
const phases = wireEnum(AttachmentPhase.UNSPECIFIED, {
  attaching: AttachmentPhase.ATTACHING,
  attached: AttachmentPhase.ATTACHED,
  detaching: AttachmentPhase.DETACHING,
})
const actions = wireEnum(ResyncAction.UNSPECIFIED, {
  kept: ResyncAction.KEPT,
  reattached: ResyncAction.REATTACHED,
  detached: ResyncAction.DETACHED,
  failed: ResyncAction.FAILED,
})
const { OffloadService: service } = wire

/** The service's methods with their codecs: the one description that client, server and in-memory twin share. */
export const METHODS: {
  readonly handshake: Method<HandshakeCall, HandshakeReply>
  readonly attach: Method<AttachCall, AttachReply>
  readonly detach: Method<schemas.DetachCall, void>
  readonly check: Method<schemas.CheckCall, void>
  readonly status: Method<schemas.StatusCall, void>
  readonly list: Method<void, AttachmentState>
  readonly resync: Method<ResyncMessage, ResyncEvent>
  readonly heartbeat: Method<HostBeat, AgentBeat>
} = {
  handshake: {
    name: 'handshake',
    path: service.handshake.path,
    call: codec(
      'HandshakeRequest',
      wire.HandshakeRequest,
      schemas.handshakeCall,
      ({ protocol, node, bootId, features }) => ({ minProtocol: protocol.min, maxProtocol: protocol.max, node, bootId, features }),
      ({ minProtocol, maxProtocol, ...rest }) => ({ protocol: { min: minProtocol, max: maxProtocol }, ...rest }),
    ),
    reply: codec(
      'HandshakeResponse',
      wire.HandshakeResponse,
      schemas.handshakeReply,
      (reply) => reply,
      (message) => message,
    ),
  },
  attach: {
    name: 'attach',
    path: service.attach.path,
    call: codec('AttachRequest', wire.AttachRequest, schemas.attachCall, attachToWire, attachFromWire),
    reply: codec(
      'AttachResponse',
      wire.AttachResponse,
      schemas.attachReply,
      ({ result, port }) => ({ result: resultToWire(result), port }),
      ({ result, port }) => present({ result: resultFromWire(result), port }),
    ),
  },
  detach: {
    name: 'detach',
    path: service.detach.path,
    call: codec(
      'DetachRequest',
      wire.DetachRequest,
      schemas.detachCall,
      ({ key, vf }) => ({ key, vf }),
      ({ key, vf }) => present({ key, vf }),
    ),
    reply: empty('DetachResponse', wire.DetachResponse),
  },
  check: {
    name: 'check',
    path: service.check.path,
    call: codec(
      'CheckRequest',
      wire.CheckRequest,
      schemas.checkCall,
      ({ key, expected }) => ({ key, expected: expected === undefined ? undefined : resultToWire(expected) }),
      ({ key, expected }) => present({ key, expected: resultFromWire(expected) }),
    ),
    reply: empty('CheckResponse', wire.CheckResponse),
  },
  status: {
    name: 'status',
    path: service.status.path,
    call: codec(
      'StatusRequest',
      wire.StatusRequest,
      schemas.statusCall,
      ({ network }) => ({ network }),
      ({ network }) => present({ network }),
    ),
    reply: empty('StatusResponse', wire.StatusResponse),
  },
  list: {
    name: 'list',
    path: service.list.path,
    call: empty('ListRequest', wire.ListRequest),
    reply: codec(
      'ListResponse',
      wire.ListResponse,
      schemas.attachmentState,
      ({ key, vf, port, state, result, request, repairs = [] }) => ({
        key,
        vf,
        port,
        phase: phases.toWire(state),
        result: result === undefined ? undefined : resultToWire(result),
        request: request === undefined ? undefined : attachToWire(request),
        repairs: repairs.map(repairToWire),
      }),
      ({ key, vf, port, phase, result, request, repairs }) =>
        present({
          key,
          vf,
          port,
          state: phases.fromWire(phase),
          result: resultFromWire(result),
          request: request === undefined ? undefined : attachFromWire(request),
          repairs: repairs.length === 0 ? undefined : repairs.map((repair) => repairFromWire(repair, key)),
        }),
    ),
  },
  resync: {
    name: 'resync',
    path: service.resync.path,
    call: codec(
      'ResyncRequest',
      wire.ResyncRequest,
      schemas.resyncMessage,
      (message) => (message === 'complete' ? { wired: undefined, complete: true } : { wired: attachToWire(message), complete: false }),
      ({ wired, complete }) => (wired === undefined ? complete && 'complete' : attachFromWire(wired)),
    ),
    reply: codec(
      'ResyncResponse',
      wire.ResyncResponse,
      schemas.resyncEvent,
      ({ key, action, result, error }) => ({
        key,
        action: actions.toWire(action),
        result: result === undefined ? undefined : resultToWire(result),
        error: error === undefined ? undefined : problemToWire(error),
      }),
      (message) => {
        const action = actions.fromWire(message.action)
        // What an action that nobody here knows left behind is not to be taken for what the pod should have.
        const result = action === 'unknown' ? undefined : resultFromWire(message.result)
        return present({ key: message.key, action, result, error: message.error })
      },
    ),
  },
  heartbeat: {
    name: 'heartbeat',
    path: service.heartbeat.path,
    call: codec(
      'HeartbeatRequest',
      wire.HeartbeatRequest,
      schemas.hostBeat,
      (beat) => beat,
      (message) => message,
    ),
    reply: codec(
      'HeartbeatResponse',
      wire.HeartbeatResponse,
      schemas.agentBeat,
      (beat) => beat,
      (message) => message,
    ),
  },
}
