import { CILIUM_OPERATIONS, CILIUM_VERSIONS, type CiliumVersion, describeApi, FakeCiliumAgent } from '@cni-offload/testing/cilium'
import { expect, it } from 'vitest'
import { AgentLab } from './lab.ts'

const statuses = (version: CiliumVersion): string[] => Object.keys(describeApi(version)['PUT /endpoint/{id}'].answers)

it.each(CILIUM_VERSIONS)('all operations are described for %s', (version) => {
  expect(Object.keys(describeApi(version)).toSorted()).toEqual([...CILIUM_OPERATIONS].toSorted())
})

it('releases differ where Cilium’s descriptions do', () => {
  expect(CILIUM_VERSIONS.filter((version) => statuses(version).includes('503'))).toEqual(['1.18.6', '1.19.4', '1.20.2'])
  const takes = (member: string): CiliumVersion[] =>
    CILIUM_VERSIONS.filter(
      (version) => describeApi(version)['PUT /endpoint/{id}'].knownRequest?.safeParse({ state: 'ready', [member]: 'x' }).success === true,
    )
  expect(takes('container-id')).toEqual(CILIUM_VERSIONS)
  expect(takes('container-netns-path')).toEqual(['1.19.4', '1.20.2'])
  expect(takes('docker-endpoint-id')).toEqual(CILIUM_VERSIONS.filter((version) => version !== '1.20.2'))
  expect(takes('no-such-member')).toEqual([])
})

it('what an agent passes over without a word is told', async () => {
  await using lab = await AgentLab.create()
  await lab.ask('PUT', '/endpoint/0', { state: 'ready', 'container-id': 'a', typo: 1, addressing: { ipv5: '10.0.0.9' } })
  await lab.ask('POST', '/ipam?owner=a&pol=b')
  expect(lab.agent.requests.map(({ status }) => status)).toEqual([201, 201])
  expect(lab.agent.undescribed()).toEqual([
    expect.stringMatching(/PUT \/endpoint\/\{id\} addressing: .*ipv5/),
    expect.stringMatching(/PUT \/endpoint\/\{id\} : .*typo/),
    'POST /ipam has no parameter pol',
  ])
})

it('an answer that no real agent gives is not given', async () => {
  await using lab = await AgentLab.create()
  lab.agent.health = { state: 'Splendid' as 'Ok' }
  expect(await lab.ask('GET', '/healthz')).toMatchObject({ status: 500, body: expect.stringContaining('not as described') })
  expect(lab.agent).toBeInstanceOf(FakeCiliumAgent)
})
