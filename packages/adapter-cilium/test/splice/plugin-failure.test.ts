import { OffloadError } from '@cni-offload/sdk'
import { PluginError } from '@cni-offload/sdk/exec'
import { describe, expect, it } from 'vitest'
import { CiliumApiError } from '../../src/index.ts'
import { apiFailure, isCertain } from '../../src/splice/plugin-failure.ts'

const failed = (text: string, code?: number, type = 'cilium-cni'): OffloadError =>
  new OffloadError('ADAPTER_FAILED', `plugin "${type}", ADD: ${text}`, { cause: new PluginError(type, 'ADD', code, text) })

describe('what cilium-cni prints', () => {
  // In the words of releases 1.16 to 1.20.
  it.each([
    ['unable to create endpoint: [PUT /endpoint/{id}][429] putEndpointIdTooManyRequests', 'RESOURCE_EXHAUSTED', 'answer', 429, true],
    ['unable to create endpoint: [PUT /endpoint/{id}][503] putEndpointIdServiceUnavailable', 'NOT_READY', 'answer', 503, true],
    ['unable to create endpoint: [PUT /endpoint/{id}] PutEndpointID (status 503): {}', 'NOT_READY', 'answer', 503, true],
    ['unable to create endpoint: [PUT /endpoint/{id}][400] putEndpointIdInvalid  exists', 'ADAPTER_FAILED', 'answer', 400, false],
    [
      'unable to allocate IP via local cilium agent: [POST /ipam][502] postIpamFailure  range is full',
      'RESOURCE_EXHAUSTED',
      'answer',
      502,
      false,
    ],
    [
      'unable to connect to Cilium agent: failed to create cilium agent client after 30.0 seconds timeout: x',
      'NOT_READY',
      'unreachable',
      undefined,
      true,
    ],
    ['unable to connect to Cilium agent: Cilium API client timeout exceeded', 'NOT_READY', 'unreachable', undefined, true],
    ['client failed: failed to acquire lock: context deadline exceeded', 'NOT_READY', 'unreachable', undefined, true],
    [
      'client failed: deletion queue directory /var/run/cilium/deleteQueue has too many entries; aborting',
      'NOT_READY',
      'unreachable',
      undefined,
      true,
    ],
    ['unable to create endpoint: Cilium API client timeout exceeded', 'ADAPTER_FAILED', 'broken', undefined, false],
    [
      'unable to allocate IP via local cilium agent: Post "http://localhost/v1/ipam?owner=n%2Fp": dial unix /run/c.sock: connect: connection refused',
      'NOT_READY',
      'unreachable',
      undefined,
      true,
    ],
    [
      'unable to create endpoint: Put "http://localhost/v1/endpoint/cilium-local:0": dial unix /run/c.sock: connect: no such file or directory',
      'NOT_READY',
      'unreachable',
      undefined,
      true,
    ],
    ['unable to create endpoint: Put "http://localhost/v1/endpoint/cilium-local:0": EOF', 'NOT_READY', 'broken', undefined, false],
    [
      'unable to create endpoint: Put "http://localhost/v1/endpoint/cilium-local:0": read unix @->/run/c.sock: read: connection reset by peer',
      'NOT_READY',
      'broken',
      undefined,
      false,
    ],
    [
      'unable to create endpoint: Put "http://localhost/v1/endpoint/cilium-local:0": write unix @->/run/c.sock: write: broken pipe',
      'NOT_READY',
      'broken',
      undefined,
      false,
    ],
  ])('%s', (text, code, kind, status, passing) => {
    const failure = apiFailure(failed(text))
    expect(failure).toBeInstanceOf(CiliumApiError)
    expect(failure).toMatchObject({ code, kind, status, passing })
    expect(isCertain(failure)).toBe(kind !== 'broken')
  })

  it('is its own matter where it says nothing of the agent, or another plugin says it', () => {
    for (const error of [
      failed('opening netns pinned at /x: no such file'),
      failed('[PUT /x][429]', 999, 'portmap'),
      new Error('[PUT /x][429]'),
    ])
      expect(apiFailure(error)).toBe(error)
  })

  it('DaemonDown is told by its code, and a plugin that was killed said nothing', () => {
    expect(apiFailure(failed('DaemonDown', 11))).toMatchObject({ kind: 'unreachable', message: expect.stringContaining('cilium-agent') })
    expect(isCertain(failed('was killed by SIGKILL', undefined))).toBe(false)
    expect(isCertain(new OffloadError('DEADLINE_EXCEEDED', 'late'))).toBe(false)
  })
})
