import { systemClock } from '@cni-offload/sdk'
import { failed, forbidden, prints, remoteExit, unknownKind, waitTimeout } from '@cni-offload/testing/kubectl'
import { describe, expect, it } from 'vitest'
import { Kubectl } from '../../src/kubectl/kubectl.ts'
import { starwarsText } from '../../src/verify/starwars/report.ts'
import { type StarwarsOptions, verifyStarwars } from '../../src/verify/starwars/run.ts'
import { FakeGalaxy, LANDED, LAWFUL } from './fake-galaxy.ts'

const NAMESPACE = 'offload-starwars'

const options = ({ kubectl }: FakeGalaxy, more: Partial<StarwarsOptions> = {}): StarwarsOptions => ({
  kubectl: new Kubectl({ executable: kubectl.executable, timeoutMs: 60_000 }),
  app: { namespace: NAMESPACE, image: 'deathstar:1', shipImage: 'ship:1', nodes: [] },
  clock: systemClock,
  readyMs: 5000,
  settleMs: 0,
  pauseMs: 1,
  keep: false,
  signal: AbortSignal.timeout(120_000),
  removalSignal: AbortSignal.timeout(120_000),
  progress: () => {},
  ...more,
})

describe('offload verify starwars', { timeout: 240_000 }, () => {
  it('shows services and policies of all layers, and leaves nothing', async () => {
    await using galaxy = (await FakeGalaxy.start()).serve()
    const said: string[] = []
    const report = await verifyStarwars(options(galaxy, { progress: (text) => said.push(text) }))
    expect(report).toMatchObject({ ok: true, kept: false, leftBecause: '', namespace: NAMESPACE })
    expect(report.checks.map(({ policy, id, seen, ok }) => [policy, id, seen, ok])).toEqual([
      ['none', 'backend-deathstar-a', '200 Ship landed', true],
      ['none', 'backend-deathstar-b', '200 Ship landed', true],
      ['none', 'cluster-ip', '200 Ship landed', true],
      ['none', 'tiefighter-landed', '200 Ship landed', true],
      ['none', 'xwing-landed', '200 Ship landed', true],
      ['L3/L4', 'xwing-refused', 'no answer (curl 28)', true],
      ['L3/L4', 'tiefighter-landed', '200 Ship landed', true],
      ['L7', 'exhaust-port-denied', '403 Access denied', true],
      ['L7', 'tiefighter-landed', '200 Ship landed', true],
      ['L7', 'xwing-refused', 'no answer (curl 28)', true],
      ['removed', 'xwing-landed', '200 Ship landed', true],
    ])
    expect(said).toEqual([
      `namespace ${NAMESPACE}: deathstar, tiefighter and xwing`,
      'no policy',
      'policy for L3/L4',
      'policy for L7',
      'the policy is taken away',
      `namespace ${NAMESPACE} is removed`,
    ])
    const urls = galaxy.kubectl.calls.filter(({ args }) => args[0] === 'exec').map(({ args }) => args.at(-1))
    expect(urls.slice(0, 4)).toEqual([
      'http://10.0.1.1/v1/request-landing',
      'http://[fd00::2]/v1/request-landing',
      'http://10.96.0.7/v1/request-landing',
      `http://deathstar.${NAMESPACE}.svc/v1/request-landing`,
    ])
    expect(galaxy.there).toBe(false)
    galaxy.kubectl.verify()
    const text = starwarsText(report)
    expect(text).toContain('deathstar-b on n2, fd00::2')
    expect(text).toMatch(/^ok +L7 +tiefighter may not use the exhaust port +403 Access denied +403 Access denied$/m)
    expect(text).toMatch(/11 of 11 as expected$/)
  })

  it('says of each thing that is not as it should be what was seen and what to look at', async () => {
    // No policy is enforced, DNS is silent for the xwing once there is one, and the service has no address.
    await using galaxy = (
      await FakeGalaxy.start(({ url, policy, from, method }) => {
        if (url.includes('10.96.0.7')) return remoteExit(7, '', 'curl: (7) Failed to connect')
        if (from === 'xwing' && policy === 'L7') return remoteExit(28, '', 'curl: (28) Resolving timed out after 10000 milliseconds')
        return method === 'PUT' ? prints('Panic: deathstar exploded\n\n200') : LANDED
      })
    ).serve()
    const report = await verifyStarwars(options(galaxy, { app: { ...options(galaxy).app, nodes: ['n1', 'n3'] } }))
    expect(report.ok).toBe(false)
    expect(report.checks.filter(({ ok }) => !ok).map(({ policy, id, seen, remedy }) => [policy, id, seen, remedy.slice(0, 20)])).toEqual([
      ['none', 'nodes', 'n1, n2', 'Can pods be schedule'],
      ['none', 'cluster-ip', 'curl 7: curl: (7) Failed to connect', 'If the backends answ'],
      ['L3/L4', 'xwing-refused', '200 Ship landed', 'Are the pods endpoin'],
      ['L7', 'exhaust-port-denied', '200 Panic: deathstar exploded', 'Is l7Proxy on, and d'],
      ['L7', 'xwing-refused', 'curl 28: curl: (28) Resolving timed out after 10000 milliseconds', 'Are the pods endpoin'],
    ])
    expect(starwarsText(report)).toMatch(/^FAIL +L3\/L4 +xwing is refused +no answer \(curl 28\) +200 Ship landed$/m)
    expect(starwarsText(report)).toContain('tiefighter may not use the exhaust port:\n  → Is l7Proxy on')
    expect(galaxy.there).toBe(false)
  })

  it('repeats a call until what takes its time is there, and tells what it has found also when it cannot be removed', async () => {
    let early = 2
    await using galaxy = await FakeGalaxy.start((call) =>
      call.policy === 'L7' && call.method === 'PUT' && early-- > 0 ? LANDED : LAWFUL(call),
    )
    galaxy.kubectl.expect(`delete namespace ${NAMESPACE} --ignore-not-found --wait=true --timeout=120s`, failed('error: finalizers'))
    const report = await verifyStarwars(options(galaxy.serve(), { settleMs: 60_000 }))
    expect(report.checks.filter(({ ok }) => !ok)).toEqual([])
    expect(early).toBe(-1)
    expect(report).toMatchObject({ ok: false, leftBecause: expect.stringContaining('error: finalizers') as string })
    expect(starwarsText(report)).toMatch(/could not be removed: .*\n {2}→ kubectl delete namespace offload-starwars\n11 of 11 as expected$/)
  })

  it('keeps the demo where it is told to, and starts again from there', async () => {
    await using galaxy = await FakeGalaxy.start()
    const labels = { 'app.kubernetes.io/managed-by': 'offload-verify' }
    galaxy.kubectl.expect(`get namespace ${NAMESPACE} -o json`, prints({ metadata: { labels }, status: { phase: 'Active' } }))
    galaxy.policy = 'L4'
    const report = await verifyStarwars(options(galaxy.serve(), { keep: true, app: { ...options(galaxy).app, nodes: ['n1', 'n2'] } }))
    expect(report).toMatchObject({ ok: true, kept: true })
    expect(galaxy.there).toBe(true)
    expect(galaxy.applied.map(({ kind }) => kind)).toEqual([
      'Namespace',
      'ServiceAccount',
      'Service',
      'Deployment',
      'Pod',
      'Pod',
      'CiliumNetworkPolicy',
      'CiliumNetworkPolicy',
    ])
    const [deathstar, tiefighter, xwing] = ['deathstar', 'tiefighter', 'xwing'].map((name) =>
      JSON.stringify(galaxy.applied.find(({ kind, metadata }) => kind !== 'Service' && (metadata as { name: string }).name === name)),
    )
    expect(deathstar).toContain('"values":["n1"]}]},{"matchFields":[{"key":"metadata.name","operator":"In","values":["n2"]')
    expect(deathstar).toContain('"whenUnsatisfiable":"DoNotSchedule"')
    expect(tiefighter).toMatch(/"values":\["n1"\]/)
    expect(xwing).toMatch(/"values":\["n2"\]/)
    expect(`${deathstar}${tiefighter}`).toMatch(/"image":"deathstar:1".*"image":"ship:1"/)
  })

  it('touches no namespace of somebody else', async () => {
    await using galaxy = await FakeGalaxy.start()
    galaxy.kubectl.expect(`get namespace ${NAMESPACE} -o json`, prints({ metadata: { labels: { team: 'a' } } }))
    await expect(verifyStarwars(options(galaxy))).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      hint: expect.stringContaining('--namespace') as string,
    })
    expect(galaxy.kubectl.calls).toHaveLength(1)
  })

  it('says which pod is not ready and why, and removes all; a namespace that is on its way out is waited for', async () => {
    await using galaxy = await FakeGalaxy.start()
    const leaving = { metadata: { labels: { 'app.kubernetes.io/managed-by': 'offload-verify' } }, status: { phase: 'Terminating' } }
    galaxy.kubectl.expect(`get namespace ${NAMESPACE} -o json`, prints(leaving))
    const waiting = { reason: 'ImagePullBackOff', message: 'no such image' }
    const unready = [
      { metadata: { name: 'xwing' }, spec: {}, status: { phase: 'Pending', containerStatuses: [{ state: { waiting } }] } },
      {
        metadata: { name: 'tiefighter' },
        spec: {},
        status: {
          phase: 'Pending',
          conditions: [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: '0/2 nodes' }],
        },
      },
      { metadata: { name: 'deathstar-a' }, spec: {}, status: { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] } },
    ]
    galaxy.kubectl
      .expect(`wait -n ${NAMESPACE} --timeout=5s --for=condition=Available deployment/deathstar`, waitTimeout('deployments/deathstar'))
      .expect(`get pods -n ${NAMESPACE} -o json`, prints({ items: unready }))
    await expect(verifyStarwars(options(galaxy.serve()))).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message:
        'pods are not ready after 5 s: xwing is Pending (ImagePullBackOff: no such image); tiefighter is Pending (Unschedulable: 0/2 nodes)',
      hint: expect.stringContaining('kubectl describe') as string,
    })
    expect(galaxy.kubectl.calls.slice(0, 3).map(({ args }) => args.slice(0, 2).join(' '))).toEqual([
      'get namespace',
      'delete namespace',
      'apply -f',
    ])
    expect(galaxy.there).toBe(false)
  })

  it('says what the cluster does not allow or know, and removes what it has made', async () => {
    await using galaxy = await FakeGalaxy.start()
    galaxy.kubectl.expect('apply -f -', prints('')).expect('apply -f -', forbidden('create', 'deployments', NAMESPACE))
    await expect(verifyStarwars(options(galaxy.serve()))).rejects.toMatchObject({
      kind: 'forbidden',
      message: expect.stringContaining('deployments') as string,
    })
    expect(galaxy.kubectl.calls.at(-1)?.args.slice(0, 3)).toEqual(['delete', 'namespace', NAMESPACE])
    await using without = await FakeGalaxy.start()
    without.kubectl.expect(({ args }) => args[1] === 'ciliumnetworkpolicies.cilium.io', unknownKind('ciliumnetworkpolicies'))
    await expect(verifyStarwars(options(without.serve()))).rejects.toMatchObject({
      kind: 'unknown-kind',
      hint: expect.stringContaining('Is Cilium installed') as string,
    })
    expect(without.there).toBe(false)
  })

  it('says that something is left when it cannot be removed', async () => {
    await using galaxy = await FakeGalaxy.start()
    const remove = `delete namespace ${NAMESPACE} --ignore-not-found --wait=true --timeout=120s`
    galaxy.kubectl.expect('apply -f -', forbidden('create', 'namespaces')).expect(remove, failed('error: no way'))
    await expect(verifyStarwars(options(galaxy.serve()))).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
      message: expect.stringMatching(/namespaces is forbidden.*\nand namespace offload-starwars could not be removed: .*no way/) as string,
      hint: expect.stringContaining(`kubectl delete namespace ${NAMESPACE}`) as string,
    })
  })

  it('is removed when the caller gives up in the middle', async () => {
    await using galaxy = await FakeGalaxy.start()
    const caller = new AbortController()
    galaxy.kubectl.expect(({ args }) => args[0] === 'exec', 'hang')
    const refused = expect(verifyStarwars(options(galaxy.serve(), { signal: caller.signal }))).rejects.toMatchObject({ code: 'CANCELLED' })
    await galaxy.kubectl.untilHanging(AbortSignal.timeout(60_000))
    expect(galaxy.there).toBe(true)
    caller.abort()
    await refused
    await galaxy.kubectl.untilEnded(AbortSignal.timeout(60_000))
    expect(galaxy.there).toBe(false)
  })
})
