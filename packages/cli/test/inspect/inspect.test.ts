import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { askNode } from '../../src/inspect/ask.ts'
import { page, unknown } from '../../src/inspect/page.ts'
import { parseQuery } from '../../src/inspect/query.ts'
import { select } from '../../src/inspect/select.ts'
import { type NodeView, nodeView } from '../../src/inspect/view.ts'

const KEY = { network: 'podnet', containerId: '0123456789ab', ifName: 'eth0' }
const POD = { namespace: 'default', name: 'web', uid: 'u-1' }
const ID = 'podnet/0123456789ab/eth0'
const AT = Date.parse('2026-01-02T03:04:05Z')

const VIEW: NodeView = {
  node: 'n1',
  state: 'RUNNING',
  agent: { address: 'tcp://10.0.0.1:8000', connected: true },
  attachments: [
    {
      key: KEY,
      vf: 'soft0/3',
      phase: 'wired',
      netns: '/run/netns/web',
      pod: POD,
      pciAddress: '0000:01:00.3',
      mac: '02:00:00:00:00:01',
      mtu: 1400,
      ips: ['10.0.0.2/24', 'fd00::2/64'],
      createdAt: '2026-01-02T03:00:00.000Z',
    },
  ],
  fallbacks: [],
  leases: [{ vf: 'soft0/3', state: 'leased', health: 'healthy', key: KEY }],
  queue: [],
  repairs: [
    {
      at: AT,
      subject: ID,
      key: KEY,
      action: 'configure',
      found: ['eth0 is down', 'route 0.0.0.0/0 is missing'],
      outcome: 'repaired',
      times: 2,
    },
    { at: AT, subject: 'vf soft0/9', action: 'reclaim', found: ['it is away'], outcome: 'repaired', times: 1 },
  ],
  failures: [
    {
      at: AT,
      verb: 'CHECK',
      containerId: KEY.containerId,
      ifName: 'eth0',
      pod: POD,
      code: 'CHECK_FAILED',
      message: 'eth0 is down',
      hint: 'Wait.',
    },
  ],
  dpu: {
    attachments: [
      {
        key: KEY,
        vf: 'soft0/3',
        port: 'soft0p3',
        state: 'attached',
        repairs: [
          { at: AT + 1, subject: ID, key: KEY, action: 'reattach', found: ['vf0 is down'], outcome: 'failed', reason: 'no port', times: 1 },
        ],
      },
    ],
  },
}

describe('offload inspect', () => {
  it.each(['default/web', '0123456789ab', '0123', ID])('finds %s', (text) => {
    const { subjects, failures } = select(VIEW, parseQuery(text))
    expect(subjects.map(({ key }) => key)).toEqual([KEY])
    expect(failures).toHaveLength(1)
  })

  it.each(['default/other', 'web/default', '9999', 'podnet/0123456789ab/eth1', 'other/0123456789ab/eth0'])('does not find %s', (text) => {
    expect(select(VIEW, parseQuery(text)).subjects).toEqual([])
  })

  it.each(['', '/', 'default/', '/web', 'a/b/c/d', 'abc', 'we b', '../..', 'podnet/c 1/eth0'])(
    'refuses %j and says what is expected',
    (text) => {
      expect(() => parseQuery(text)).toThrow(
        expect.objectContaining({ code: 'INVALID_CONFIG', hint: expect.stringContaining('namespace/pod') as string }),
      )
    },
  )

  it('tells on one page all that is known, the repairs of both sides in their order', () => {
    expect(page(select(VIEW, parseQuery('default/web'))).split('\n')).toEqual([
      'node n1, host daemon RUNNING, agent answers',
      '',
      `attachment ${ID}`,
      '  pod         default/web u-1',
      '  network     podnet',
      '  container   0123456789ab',
      '  namespace   /run/netns/web',
      '  host        wired, since 2026-01-02T03:00:00.000Z',
      '  addresses   10.0.0.2/24, fd00::2/64',
      '  MAC, MTU    02:00:00:00:00:01, 1400',
      '  VF          soft0/3, 0000:01:00.3, leased, healthy',
      '  DPU         attached, port soft0p3',
      '  repairs',
      '    2026-01-02T03:04:05.000Z  host configure repaired (2 times in a row): eth0 is down; route 0.0.0.0/0 is missing',
      '    2026-01-02T03:04:05.001Z  DPU reattach failed: vf0 is down – no port',
      '',
      'calls that failed',
      '  2026-01-02T03:04:05.000Z  CHECK eth0: CHECK_FAILED: eth0 is down – Wait.',
    ])
  })

  it('tells of an attachment that is over what keeps its VF, and that the agent does not answer', () => {
    const view: NodeView = {
      ...VIEW,
      attachments: [],
      leases: [{ vf: 'soft0/3', state: 'quarantined', health: 'healthy', key: KEY }],
      queue: [{ key: KEY, vf: 'soft0/3', release: false, detach: true, reason: 'AGENT_UNREACHABLE: away' }],
      dpu: { error: 'no connection' },
    }
    const text = page(select(view, parseQuery(ID)))
    expect(text).toContain('agent does not answer: no connection')
    expect(text).toContain('  left to do  detach on the DPU, VF soft0/3 quarantined until then: AGENT_UNREACHABLE: away')
    expect(text).toContain('  host        not known (any more)')
    expect(text).toContain('  DPU         not known: the agent does not answer')
  })

  it('tells of a pod with the network of the host', () => {
    const fallback = {
      key: KEY,
      phase: 'added',
      reason: 'annotation',
      list: 'hostnet',
      netns: '/run/netns/web',
      pod: POD,
      ips: ['10.1.0.2/24'],
      createdAt: 'then',
    }
    const text = page(
      select({ ...VIEW, attachments: [], leases: [], dpu: { attachments: [] }, fallbacks: [fallback] }, parseQuery('default/web')),
    )
    expect(text).toContain('  host        added by list "hostnet" (annotation), since then')
    expect(text).toContain('  DPU         not concerned')
  })

  it('says what to try where nothing is known, and takes what older daemons tell', () => {
    const { repairs: _1, failures: _2, dpu: _3, ...older } = VIEW
    const selection = select(nodeView.parse(older), parseQuery('default/other'))
    expect(selection.subjects).toEqual([])
    expect(unknown(selection, 'default/other')).toMatch(
      /node n1 knows nothing of default\/other\n.*Is it on this node.*\n.*earlier release.*\n.*offload attachments/,
    )
  })

  it('asks a daemon over its socket, and says where there is none or it refuses', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'inspect-'))
    const socket = join(dir, 'host.sock')
    await expect(askNode(socket)).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining(socket) as string })
    const answers: [number, object][] = [
      [0, VIEW],
      [1, { cniVersion: '1.0.0', code: 7, msg: 'user 7 may not talk to the host daemon', details: 'Call it as root.' }],
    ]
    const asked: string[] = []
    const server = createServer((connection) => {
      connection.once('data', (data) => {
        asked.push(data.subarray(4).toString())
        const [status, answer] = answers.shift()!
        const output = Buffer.from(JSON.stringify(answer))
        const head = Buffer.alloc(5)
        head.writeUInt32BE(output.length + 1)
        head.writeUInt8(status, 4)
        connection.end(Buffer.concat([head, output]))
      })
    }).listen(socket)
    await once(server, 'listening')
    expect(await askNode(socket)).toEqual(VIEW)
    expect(JSON.parse(asked[0]!)).toEqual({ v: 1, kind: 'inspect', dpu: true })
    await expect(askNode(socket)).rejects.toMatchObject({ message: expect.stringContaining('user 7') as string, hint: 'Call it as root.' })
    server.close()
    await rm(dir, { recursive: true })
  })
})
