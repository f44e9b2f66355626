import { serveMetrics } from '@cni-offload/sdk/runtime'
import { silentLogger } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { agentEngine } from '../../src/ipsec/agent-engine.ts'
import { within } from './support.ts'

const NAME = 'cni_offload_agent_crypto_engine_total'
const lines = (packets: string | number): string =>
  [
    '# TYPE other counter',
    'other{offload="inline",counted="packets"} 77',
    `${NAME}{offload="inline",counted="packets"} ${packets}`,
    `${NAME}{offload="inline",counted="bytes"} 700`,
    `${NAME}{offload="inline",counted="errors"} 0`,
    '',
  ].join('\n')

/** An agent's metrics, as they are at the moment. */
const serve = async (text: () => string): Promise<AsyncDisposable & { readonly url: string }> => {
  const server = await serveMetrics({
    listen: '127.0.0.1:0',
    registry: { contentType: 'text/plain', metrics: () => Promise.resolve(text()) },
    health: () => ({ ok: true, text: '' }),
    log: silentLogger,
  })
  return { url: `http://${server.address}/metrics`, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

describe('the crypto engine of an agent', { timeout: 60_000 }, () => {
  it('counts what the metrics tell at each time', async () => {
    let packets = 5
    await using agent = await serve(() => lines(packets))
    const engine = await agentEngine(agent.url, within())
    expect(engine.offload).toBe('inline')
    expect(await engine.counters()).toEqual({ packets: 5n, bytes: 700n, errors: 0n })
    packets = 9
    expect(await engine.counters()).toMatchObject({ packets: 9n })
  })

  it('counts requests where the metrics tell no packets, and takes part as they say by then', async () => {
    let offload = 'none'
    const text = (): string => `${NAME}{offload="${offload}",counted="requests"} 71\n${NAME}{offload="${offload}",counted="errors"} 0\n`
    await using agent = await serve(text)
    const engine = await agentEngine(agent.url, within())
    expect(engine.offload).toBe('none')
    offload = 'lookaside'
    expect(await engine.counters()).toEqual({ requests: 71n, errors: 0n })
    expect(engine.offload).toBe('lookaside')
  })

  it('is refused where there is none, where it makes no sense, and where nobody answers', async () => {
    let text = 'other 1\n'
    const agent = await serve(() => text)
    await expect(agentEngine(agent.url, within())).rejects.toMatchObject({ code: 'NOT_FOUND', message: expect.stringContaining(agent.url) })
    text = lines('1e+99')
    await expect(agentEngine(agent.url, within())).rejects.toMatchObject({
      code: 'UNDECODABLE',
      message: expect.stringContaining('packets = "1e+99"'),
    })
    await expect(agentEngine(agent.url.replace('metrics', 'other'), within())).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining('404'),
    })
    await agent[Symbol.asyncDispose]()
    await expect(agentEngine(agent.url, within())).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      hint: expect.stringContaining('metrics.listen'),
    })
  })
})
