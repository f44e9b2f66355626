import { callCni, type LabNode } from '@cni-offload/cli'
import { type ListCall, ListRunner, PluginExecutor, pluginList } from '@cni-offload/sdk/exec'
import { exec, inNetns, ping } from '@cni-offload/testing'
import { dirname } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { E2eLab, needsRoot, NOTHING_HELD } from './fixture.ts'

const STOCK = '/usr/lib/cni'
const plain = (cidr: string): string => cidr.replace(/\/\d+$/, '')

/** Answers one connection and ends. */
const SERVER = `require('net').createServer(function (s) { s.end('hello'); this.close() }).listen(8080, '::')`

/** Tries until the server listens. */
const client = (address: string): string =>
  `(function go(n) { require('net').connect(18080, '${address}').on('error', e => n ? setTimeout(go, 100, n - 1) : process.exit(1)).pipe(process.stdout) })(300)`

const decoded = (text: string): any => JSON.parse(text)

describe.skipIf(needsRoot)('the specification, with the stock plugins (needs root for namespaces)', () => {
  let e2e: E2eLab
  let one: LabNode
  let two: LabNode

  beforeAll(async () => {
    e2e = await E2eLab.up({ nodes: 2, vfs: 2, adapter: 'delegate' })
    ;[one, two] = [e2e.lab.node(1), e2e.lab.node(2)]
  }, 120_000)

  afterEach(async () => {
    expect(await e2e.held(one)).toEqual(NOTHING_HELD)
  })

  afterAll(async () => {
    await e2e?.[Symbol.asyncDispose]()
  })

  const inDpu = async (node: LabNode, ...command: string[]): Promise<string> => {
    const { stdout, stderr, code } = await exec(inNetns(e2e.lab.netns(node, 'agent'), command))
    expect(code, stderr).toBe(0)
    return stdout
  }

  const remove = async (node: LabNode, pod: string, prevResult: object): Promise<void> => {
    expect(await e2e.call(node, 'CHECK', pod, { conf: { prevResult } }), 'CHECK').toMatchObject({ exitCode: 0, stdout: '' })
    expect(await e2e.call(node, 'DEL', pod, { conf: { prevResult } }), 'DEL').toMatchObject({ exitCode: 0, stdout: '' })
    await e2e.lab.deletePod(pod)
  }

  describe('capability arguments', () => {
    test('portMappings: a port of the DPU reaches the pod from another node, in both families, until DEL', async () => {
      const runtimeConfig = { portMappings: [{ HostPort: 18_080, ContainerPort: 8080, Protocol: 'tcp', HostIP: '' }] }
      const server = await e2e.addPod(one, 'server', { runtimeConfig })
      const caller = await e2e.addPod(two, 'caller')
      for (const address of ['172.30.0.1', 'fd30::1']) {
        const served = exec(inNetns(e2e.lab.podPath('server'), [process.execPath, '-e', SERVER]))
        const heard = await exec(inNetns(e2e.lab.podPath('caller'), [process.execPath, '-e', client(address)]))
        expect(heard, address).toMatchObject({ code: 0, stdout: 'hello' })
        expect(await served).toMatchObject({ code: 0 })
      }
      for (const tool of ['iptables', 'ip6tables']) expect(await inDpu(one, tool, '-t', 'nat', '-S'), tool).toContain('18080')
      await remove(two, 'caller', caller)
      await remove(one, 'server', server)
      for (const tool of ['iptables', 'ip6tables']) expect(await inDpu(one, tool, '-t', 'nat', '-S'), tool).not.toContain('18080')
    })

    test('bandwidth: both directions are shaped on the DPU, until DEL', async () => {
      const runtimeConfig = {
        bandwidth: { IngressRate: 8_000_000, IngressBurst: 4_294_967_295, EgressRate: 16_000_000, EgressBurst: 800_000 },
      }
      const pod = await e2e.addPod(one, 'shaped', { runtimeConfig })
      const shapers = async (): Promise<number[]> =>
        decoded(await inDpu(one, 'tc', '-j', 'qdisc', 'show')).flatMap((qdisc: any) => (qdisc.kind === 'tbf' ? [qdisc.options.rate] : []))
      // tc prints bytes per second.
      expect((await shapers()).toSorted((a, b) => a - b)).toEqual([1_000_000, 2_000_000])
      expect(await ping(e2e.lab.podPath('shaped'), '10.244.1.1')).toEqual({ sent: 3, received: 3 })
      await remove(one, 'shaped', pod)
      expect(await shapers()).toEqual([])
    })

    test('mac and ips: by capability, else args.cni, else CNI_ARGS', async () => {
      const [mac, args, cniArgs] = ['02:aa:00:00:00:01', '02:aa:00:00:00:02', '02:aa:00:00:00:03']
      for (const [conf, ip, wanted] of [
        [
          { args: { cni: { mac: args, ips: ['10.244.1.92'] } }, runtimeConfig: { mac, ips: ['10.244.1.91', 'fd00:244:1::91'] } },
          '10.244.1.91',
          mac,
        ],
        [{ args: { cni: { mac: args, ips: ['10.244.1.92/24'] } } }, '10.244.1.92', args],
        [{}, '10.244.1.93', cniArgs],
      ] as const) {
        await e2e.lab.createPod('wish')
        const env = { CNI_ARGS: `IgnoreUnknown=1;IP=10.244.1.93;MAC=${cniArgs}` }
        const { json, stdout } = await e2e.call(one, 'ADD', 'wish', { conf, env })
        const result = json as any
        expect(
          result.ips?.map((given: { address: string }) => given.address),
          stdout,
        ).toContain(`${ip}/24`)
        expect(result.interfaces[0].mac).toBe(wanted)
        expect(await e2e.net.link(e2e.lab.podPath('wish'), 'eth0')).toMatchObject({ mac: wanted })
        expect(await ping(e2e.lab.podPath('wish'), '10.244.1.1', { count: 1, waitMs: 10_000 })).toEqual({ sent: 1, received: 1 })
        await remove(one, 'wish', result)
      }
    })

    test('dns: the result has it', async () => {
      const dns = { Servers: ['10.0.0.10'], Searches: ['a.example'], Options: null }
      const result = await e2e.addPod(one, 'dns', { capabilities: { dns: true }, runtimeConfig: { dns } })
      expect(result['dns']).toEqual({ nameservers: ['10.0.0.10'], search: ['a.example'] })
      await remove(one, 'dns', result)
    })
  })

  describe('chaining', () => {
    const hostside = (
      cniVersion: '0.4.0' | '1.0.0',
      plugins: readonly object[],
    ): { runner: ListRunner; call: (pod: string) => ListCall } => {
      const executor = new PluginExecutor({
        cniPath: [dirname(one.shim), STOCK],
        timeoutMs: 60_000,
        env: one.env,
        netns: e2e.lab.netns(one, 'host'),
      })
      const list = pluginList.parse({ cniVersion, name: e2e.lab.state.network, plugins })
      return {
        runner: new ListRunner(executor, ['portmap']),
        call: (pod) => ({
          list,
          containerId: pod,
          netns: e2e.lab.podPath(pod),
          ifName: 'eth0',
          args: {},
          runtimeConfig: { mac: '02:bb:00:00:00:01', portMappings: [{ hostPort: 18_081, containerPort: 80, protocol: 'tcp' }] },
        }),
      }
    }

    test.each(['0.4.0', '1.0.0'] as const)(
      'first of a list: tuning, portmap, firewall and sbr go on from our result (%s)',
      async (version) => {
        const { runner, call } = hostside(version, [
          { type: 'offload-cni' },
          { type: 'tuning', capabilities: { mac: true }, dataDir: one.dir, sysctl: { 'net.ipv4.tcp_syn_retries': '3' } },
          { type: 'portmap', capabilities: { portMappings: true }, snat: false },
          { type: 'firewall' },
          { type: 'sbr' },
        ])
        const signal = AbortSignal.timeout(60_000)
        await e2e.lab.createPod('first')
        const result = (await runner.add(call('first'), signal)) as any
        expect(result).toMatchObject({
          cniVersion: version,
          interfaces: [{ name: 'eth0', mac: '02:bb:00:00:00:01', sandbox: e2e.lab.podPath('first') }],
        })
        expect(result.ips).toHaveLength(2)
        await runner.check(call('first'), result, signal)
        await runner.del(call('first'), result, signal)
        // Not the whole list: the stock sbr fails where the interface is gone.
        expect(await e2e.call(one, 'DEL', 'first', { conf: { prevResult: result } })).toMatchObject({ exitCode: 0, stdout: '' })
        expect(await e2e.net.link(e2e.lab.podPath('first'), 'eth0')).toBeUndefined()
        await e2e.lab.deletePod('first')
      },
    )

    test('a later plugin that fails: DEL of the whole list leaves nothing', async () => {
      const { runner, call } = hostside('1.0.0', [{ type: 'offload-cni' }, { type: 'tuning', sysctl: { 'net.ipv4.no_such_setting': '1' } }])
      const signal = AbortSignal.timeout(60_000)
      await e2e.lab.createPod('broken')
      await expect(runner.add(call('broken'), signal)).rejects.toMatchObject({ message: expect.stringContaining('tuning') })
      await runner.del(call('broken'), undefined, signal)
      await e2e.lab.deletePod('broken')
    })

    test.each(['0.2.0', '0.3.1', '0.4.0', '1.0.0'])(
      'behind another plugin: its result is passed on with ours behind it (%s)',
      async (cniVersion) => {
        const conf = {
          cniVersion,
          name: 'before',
          type: 'bridge',
          bridge: 'before0',
          ipam: { type: 'host-local', dataDir: `${one.dir}/before`, ranges: [[{ subnet: '10.9.0.0/24' }], [{ subnet: 'fd09::/64' }]] },
        }
        const stock = (verb: string, more: object = {}) =>
          callCni(`${STOCK}/bridge`, e2e.lab.netns(one, 'host'), {
            verb,
            containerId: 'later',
            netns: e2e.lab.podPath('later'),
            ifName: 'net0',
            stdin: { ...conf, ...more },
            env: { CNI_PATH: STOCK },
          })
        await e2e.lab.createPod('later')
        const prevResult = (await stock('ADD')).json as any
        const { json, stdout } = await e2e.call(one, 'ADD', 'later', { conf: { cniVersion, prevResult } })
        const result = json as any
        expect(result.cniVersion, stdout).toBe(cniVersion)
        if (cniVersion === '0.2.0') {
          // One address of each family has a place there, and it is taken.
          expect(result).toMatchObject({ ip4: { ip: prevResult.ip4.ip }, ip6: { ip: prevResult.ip6.ip } })
          expect(await e2e.net.addresses(e2e.lab.podPath('later'), 'eth0')).toHaveLength(2)
        } else {
          expect(result.interfaces.slice(0, -1)).toEqual(prevResult.interfaces)
          expect(result.interfaces.at(-1)).toMatchObject({ name: 'eth0', sandbox: e2e.lab.podPath('later') })
          expect(result.ips.slice(0, 2)).toEqual(prevResult.ips)
          expect(result.ips.slice(2).map((ip: any) => ip.interface)).toEqual([3, 3])
          expect(result.ips.slice(2).map((ip: any) => plain(ip.address))).toEqual([
            expect.stringMatching(/^10\.244\./),
            expect.stringMatching(/^fd00:244:/),
          ])
        }
        if (cniVersion >= '0.4.0') {
          expect(await e2e.call(one, 'CHECK', 'later', { conf: { cniVersion, prevResult: result } })).toMatchObject({
            exitCode: 0,
            stdout: '',
          })
        }
        expect(await e2e.call(one, 'DEL', 'later', { conf: { cniVersion, prevResult: result } })).toMatchObject({ exitCode: 0, stdout: '' })
        expect(await stock('DEL', { prevResult: result })).toMatchObject({ exitCode: 0 })
        await e2e.lab.deletePod('later')
      },
    )
  })
})
