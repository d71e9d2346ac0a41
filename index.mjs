import face from './index.js';

export const { DataSyncError, DataSyncPlugin } = face;
export default DataSyncPlugin;
