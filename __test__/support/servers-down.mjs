export default async function serversDown() {
  await globalThis.stopServers?.();
}
